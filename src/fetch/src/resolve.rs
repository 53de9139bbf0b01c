//! Resolves names without NSS, which a static program cannot load: /etc/hosts, then DNS over UDP (RFC 1035, RFC 3596, RFC 6891) with the
//! servers of /etc/resolv.conf. Replies to other questions are ignored. There is no DNS over TCP: a truncated reply is an error.

use crate::error::Unresolved;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// resolv.conf(5), MAXNS and MAXDNSRCH.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;
/// Maximum number of names from /etc/hosts.
const MAX_HOSTS: usize = 10_000;
/// Timeout of one query, and the number of rounds over all servers.
const PATIENCE: Duration = Duration::from_secs(3);
const ROUNDS: usize = 2;
/// Maximum size of a reply with EDNS, small enough for a packet without fragmentation. Without EDNS it is 512 bytes.
const EDNS: u16 = 1232;
/// Buffer size for replies. A reply above the requested size does no harm.
const LARGEST: usize = 4096;
/// Maximum number of aliases (CNAME) that are followed.
const MAX_ALIASES: usize = 8;
/// Maximum number of addresses of a name.
const MAX_ADDRESSES: usize = 16;

/// The record type of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

/// Contents of the host's resolv.conf and hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    hosts: HashMap<String, Vec<IpAddr>>,
    servers: Vec<SocketAddr>,
    search: Vec<String>,
}

impl Names {
    /// Reads the texts of resolv.conf(5) and hosts(5); invalid lines are skipped, as in the C library.
    pub fn new(resolv: &str, hosts: &str) -> Self {
        let mut names = Self::default();
        for line in resolv.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if names.servers.len() < MAX_SERVERS => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    names.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    let domain = |word: &str| word.trim_end_matches('.').to_ascii_lowercase();
                    names.search = words.take(MAX_SEARCH).map(domain).filter(|domain| !domain.is_empty()).collect();
                }
                _ => {}
            }
        }
        if names.servers.is_empty() {
            names.servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        }
        for line in hosts.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                if names.hosts.len() < MAX_HOSTS {
                    names.hosts.entry(name.to_ascii_lowercase()).or_default().push(address);
                }
            }
        }
        names
    }

    /// The addresses of a host, IPv4 first; none where there is no such name.
    pub fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(address) = literal(&name) {
            return Ok(vec![address]);
        }
        if let Some(addresses) = self.hosts.get(&name) {
            return Ok(addresses.iter().copied().take(MAX_ADDRESSES).collect());
        }
        // RFC 6761, section 6.3: never resolved by DNS.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut candidates = vec![name.clone()];
        if !name.contains('.') {
            candidates = self.search.iter().map(|domain| format!("{name}.{domain}")).chain(candidates).collect();
        }
        for candidate in candidates {
            let mut addresses = self.ask(&candidate, Kind::A)?;
            match self.ask(&candidate, Kind::Aaaa) {
                Ok(more) => addresses.extend(more),
                Err(error) if addresses.is_empty() => return Err(error),
                Err(_) => {}
            }
            if !addresses.is_empty() {
                addresses.truncate(MAX_ADDRESSES);
                return Ok(addresses);
            }
        }
        Ok(Vec::new())
    }

    fn ask(&self, name: &str, kind: Kind) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::new(io::ErrorKind::TimedOut, "no name server answers");
        let rounds = (0..ROUNDS).flat_map(|round| self.servers.iter().map(move |server| (round, server)));
        for (round, server) in rounds {
            // Old servers refuse a query with EDNS, and old firewalls drop it.
            match ask_one(server, name, kind, round == 0) {
                Ok(Some(addresses)) => return Ok(addresses),
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// An address in the place of a name; IPv6 with or without brackets.
pub fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    inner.parse().ok()
}

/// Sends one query to one server. `None` without a usable reply in time.
fn ask_one(server: &SocketAddr, name: &str, kind: Kind, edns: bool) -> io::Result<Option<Vec<IpAddr>>> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let id = u16::from_ne_bytes(id);
    let Some(question) = question(id, name, kind, edns) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name that DNS could have"));
    };
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // A connected socket has a random port, and the kernel drops packets of other senders.
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, server)?;
    rustix::net::send(&socket, &question, SendFlags::NOSIGNAL)?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; LARGEST];
    while readable(&socket, deadline)? {
        let length = match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let reply = buffer.get(..length).unwrap_or_default();
        match answer(id, name, kind, reply) {
            // Not a reply to this query: keep waiting.
            Answer::NotOurs => {}
            Answer::Addresses(addresses) => return Ok(Some(addresses)),
            Answer::Failed => return Ok(None),
            Answer::Truncated => return Err(io::Error::other(Unresolved(TRUNCATED))),
        }
    }
    Ok(None)
}

fn readable(socket: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let time = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    let mut ready = [PollFd::new(socket, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut ready, Some(&time)))? > 0)
}

const TRUNCATED: &str = "the name server's answer does not fit into a packet, and DNS over TCP is not spoken here; /etc/hosts could name it";

/// The packet of a query; `None` for an invalid name.
pub fn question(id: u16, name: &str, kind: Kind, edns: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(wanted(kind)), QCLASS::CLASS(CLASS::IN), false));
    if edns {
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: EDNS, version: 0 });
    }
    packet.build_bytes_vec().ok()
}

const fn wanted(kind: Kind) -> TYPE {
    match kind {
        Kind::A => TYPE::A,
        Kind::Aaaa => TYPE::AAAA,
    }
}

/// A received packet, compared with the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Not a reply to the query: another id or question, or malformed.
    NotOurs,
    /// The addresses of the name, possibly none.
    Addresses(Vec<IpAddr>),
    /// The server reports an error.
    Failed,
    /// Truncated, without an address.
    Truncated,
}

/// Parses a reply. Only records of the name itself, or of its aliases, are used.
pub fn answer(id: u16, name: &str, kind: Kind, bytes: &[u8]) -> Answer {
    let Ok(packet) = Packet::parse(bytes) else { return Answer::NotOurs };
    let asked = match packet.questions.as_slice() {
        [asked] => same(&asked.qname, name) && asked.qtype == QTYPE::TYPE(wanted(kind)),
        _ => false,
    };
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !asked {
        return Answer::NotOurs;
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Answer::Addresses(Vec::new()),
        _ => return Answer::Failed,
    }
    let mut current = name.to_owned();
    for _ in 0..=MAX_ALIASES {
        let own = packet.answers.iter().filter(|record| same(&record.name, &current));
        let mut addresses = Vec::new();
        let mut alias = None;
        for record in own {
            match &record.rdata {
                RData::A(a) if kind == Kind::A => addresses.push(Ipv4Addr::from(a.address).into()),
                RData::AAAA(a) if kind == Kind::Aaaa => addresses.push(Ipv6Addr::from(a.address).into()),
                RData::CNAME(target) => alias = Some(target.0.to_string()),
                _ => {}
            }
        }
        match alias {
            Some(target) if addresses.is_empty() => current = target,
            _ if addresses.is_empty() && packet.has_flags(PacketFlag::TRUNCATION) => return Answer::Truncated,
            _ => {
                addresses.truncate(MAX_ADDRESSES);
                return Answer::Addresses(addresses);
            }
        }
    }
    Answer::Failed
}

fn same(name: &Name<'_>, text: &str) -> bool {
    name.to_string().trim_end_matches('.').eq_ignore_ascii_case(text.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    #[test]
    fn hosts_file_takes_precedence_over_dns() {
        let resolv =
            "# x\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver ::1\nsearch Plant.example.\noptions x\n";
        let names = Names::new(resolv, "127.0.0.1 a\n192.0.2.7 Registry.site.example r # x\nbad b\n2001:db8::1 r\n");
        assert_eq!(names.servers, ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(names.search, ["plant.example"]);
        let found = |host: &str| names.resolve(host).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("registry.SITE.example."), ["192.0.2.7"]);
        assert_eq!(found("r"), ["192.0.2.7", "2001:db8::1"]);
        assert_eq!(found("[2001:db8::2]"), ["2001:db8::2"]);
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(Names::new("", "").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    fn reply(id: u16, asked: &str, records: &[(&str, RData<'static>)]) -> Vec<u8> {
        let question = question(id, asked, Kind::A, false).unwrap();
        let mut packet = Packet::parse(&question).unwrap().into_reply();
        for (name, data) in records {
            let name = Name::new(name).unwrap().into_owned();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn a(text: &str) -> RData<'static> {
        RData::A(A { address: text.parse::<Ipv4Addr>().unwrap().into() })
    }

    fn alias(name: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new(name).unwrap()))
    }

    #[test]
    fn reply_to_another_query_is_ignored() {
        let addresses = |bytes: &[u8]| answer(7, "a.example", Kind::A, bytes);
        let good = reply(7, "A.example", &[("b.example", a("192.0.2.2")), ("a.example", alias("b.example"))]);
        assert_eq!(addresses(&good), Answer::Addresses(vec!["192.0.2.2".parse().unwrap()]));
        let other = reply(7, "a.example", &[("c.example", a("192.0.2.3"))]);
        assert_eq!(addresses(&other), Answer::Addresses(vec![]), "another name's address");
        assert_eq!(addresses(&reply(8, "a.example", &[])), Answer::NotOurs);
        assert_eq!(addresses(&reply(7, "b.example", &[])), Answer::NotOurs);
        assert_eq!(answer(7, "a.example", Kind::Aaaa, &good), Answer::NotOurs);
        assert_eq!(addresses(&question(7, "a.example", Kind::A, true).unwrap()), Answer::NotOurs, "a question");
        let circle = reply(7, "a.example", &[("a.example", alias("b.example")), ("b.example", alias("a.example"))]);
        assert_eq!(addresses(&circle), Answer::Failed);
        for end in 0..good.len() {
            addresses(&good[..end]);
        }
    }

    /// A name server on loopback with prepared answers.
    fn server(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Names {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = vec![socket.local_addr().unwrap()];
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            // It ends with the test's process.
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&answer(&buffer[..length]), from).unwrap();
            }
        });
        Names { servers, ..Names::default() }
    }

    #[test]
    fn query_uses_edns_and_falls_back_for_old_servers() {
        let names = server(|asked| {
            let question = Packet::parse(asked).unwrap();
            let mut packet = Packet::parse(asked).unwrap().into_reply();
            match question.opt() {
                Some(opt) => {
                    assert_eq!((opt.udp_packet_size, opt.version), (1232, 0));
                    *packet.opt_mut() = None;
                    *packet.rcode_mut() = RCODE::FormatError;
                }
                None if question.questions[0].qtype == QTYPE::TYPE(TYPE::A) => {
                    let name = Name::new("a.example").unwrap();
                    packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, a("192.0.2.2")));
                }
                None => *packet.rcode_mut() = RCODE::ServerFailure,
            }
            packet.build_bytes_vec().unwrap()
        });
        assert_eq!(names.resolve("a.example").unwrap(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn truncated_reply_is_not_a_missing_name() {
        let cut = |answer: Option<&'static str>| {
            server(move |asked| {
                let mut packet = Packet::parse(asked).unwrap().into_reply();
                packet.set_flags(PacketFlag::TRUNCATION);
                if let Some(address) = answer {
                    let name = Name::new("a.example").unwrap();
                    packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, a(address)));
                }
                packet.build_bytes_vec().unwrap()
            })
        };
        let error = cut(None).resolve("a.example").unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
        let error = crate::error::Error::io(casemate_fetch_wire::Step::Connect, &error);
        assert_eq!(error.failure.step, casemate_fetch_wire::Step::Resolve);
        assert_eq!(cut(Some("192.0.2.2")).resolve("a.example").unwrap(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    }
}
