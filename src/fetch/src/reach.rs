//! The addresses that servers can refer to. The address of the registry is given by the file; redirects and token servers must not lead
//! to private addresses unless the registry itself has one (server-side request forgery).

use crate::error::Refused;
use crate::resolve::{Names, literal};
use crate::url::Url;
use casemate_fetch_wire::Endpoint;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The resolver of one endpoint's client.
#[derive(Debug)]
pub struct Reach {
    names: Arc<Names>,
    /// The endpoint, which the file names.
    own: Arc<Own>,
    /// Its proxy's host, which the file names too.
    proxy: Option<String>,
}

/// Whether the endpoint itself has a private address. Decided by its connections, not by its name: a registry could give its name a
/// private address beside its real one.
#[derive(Debug)]
pub struct Own {
    host: String,
    place: Mutex<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Whether the connection in progress is one of the endpoint to a private address.
    tried: Option<bool>,
    /// Whether the last completed connection was one of the endpoint to a private address.
    near: bool,
}

impl Own {
    /// An endpoint's host.
    pub fn new(host: String) -> Arc<Self> {
        Arc::new(Self { host, place: Mutex::default() })
    }

    fn is(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.host)
    }

    /// Records a TCP connection to this host and address.
    pub fn tried(&self, host: &str, address: IpAddr) {
        self.place().tried = self.is(host).then(|| !is_global(address));
    }

    /// Records that TLS is established, where it is used: another server at the address has no certificate for the name.
    pub fn arrived(&self) {
        let mut place = self.place();
        place.near = place.tried.take().unwrap_or(place.near);
    }

    fn is_near(&self) -> bool {
        self.place().near
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reach {
    /// The resolver for an endpoint and its proxy.
    pub const fn new(names: Arc<Names>, own: Arc<Own>, proxy: Option<String>) -> Self {
        Self { names, own, proxy }
    }

    /// The addresses that may be connected to for this host.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.names.resolve(host)?;
        if self.own.is(host) || self.proxy.as_deref().is_some_and(|proxy| proxy.eq_ignore_ascii_case(host)) {
            return Ok(found);
        }
        let all = found.len();
        let near = self.own.is_near();
        let allowed: Vec<_> = found.into_iter().filter(|address| may_follow(*address, near)).collect();
        if all > 0 && allowed.is_empty() {
            let reason = format!("{host} lies in a private network, where the registry itself does not");
            return Err(io::Error::other(Refused(reason)));
        }
        Ok(allowed)
    }
}

/// Whether a server can refer to this address. Link-local addresses are always refused, since cloud metadata services use them.
fn may_follow(address: IpAddr, near: bool) -> bool {
    is_global(address) || (near && !is_link_local(address))
}

/// Whether a server can refer to this URL, in a redirect, as its token server or as an upload location; the error is the reason. TLS must
/// be kept. Behind a proxy, names are resolved by the proxy and [`Reach`] is not used, so a host that is an address is checked here.
pub fn may_name(endpoint: &Endpoint, next: &Url) -> Result<(), &'static str> {
    if endpoint.secure && !next.secure {
        return Err("without TLS");
    }
    let proxied = endpoint.proxy.is_some() && !next.host.eq_ignore_ascii_case(&endpoint.host);
    let address = |host: &str| match host.trim_end_matches('.').to_ascii_lowercase() {
        // RFC 6761, section 6.3: these names always mean this host.
        host if host == "localhost" || host.ends_with(".localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        // No host name ends in a number (RFC 3696, section 2); inet_aton(3) would read it as an address.
        host if looks_numeric(&host) => literal(&host).or(Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        host => literal(&host),
    };
    let near = address(&endpoint.host).is_some_and(|address| !is_global(address));
    if proxied && address(&next.host).is_some_and(|address| !may_follow(address, near)) {
        return Err("in a private network, where the registry itself is not");
    }
    Ok(())
}

fn looks_numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::254 is a metadata service too, in a range that is otherwise private.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// Whether an address is neither of this host nor private (the special-purpose ranges of RFC 6890).
fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (b == 18 || b == 19);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || shared
                || benchmark
                || a == 0
                || a >= 240)
        }
        IpAddr::V6(v6) => {
            // 64:ff9b::/96 carries an IPv4 address in its end; 64:ff9b:1::/48 is private.
            if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() {
                return is_global(IpAddr::from(((u32::from(high) << 16) | u32::from(low)).to_be_bytes()));
            }
            let private = v6.segments().starts_with(&[0x64, 0xff9b, 1]);
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || private)
        }
    }
}

impl Resolver for Reach {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        let mut out = self.empty();
        for address in self.addresses(host)? {
            out.push(SocketAddr::new(address, port));
        }
        if out.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn threat_17_and_31_registry_cannot_refer_to_private_addresses() {
        for near in [
            "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!may_follow(address(near), false) && may_follow(address(near), true), "{near}");
        }
        for never in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"] {
            assert!(!may_follow(address(never), true), "{never}");
        }
        for outside in ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "198.51.100.1"] {
            assert!(may_follow(address(outside), false), "{outside}");
        }
        assert!(!may_follow(address("64:ff9b::a00:1"), false));
    }

    #[test]
    fn threat_17_and_31_proxy_requests_go_to_public_addresses() {
        let endpoint = |host: &str, proxy: Option<&str>| Endpoint {
            secure: true,
            host: host.to_owned(),
            port: 443,
            prefix: String::new(),
            authorities: Vec::new(),
            login: None,
            proxy: proxy.map(str::to_owned),
            ports: Vec::new(),
        };
        let proxy = Some("http://proxy.example:3128");
        let may = |own: &str, proxy, next: &str| may_name(&endpoint(own, proxy), &Url::parse(next).unwrap());
        let inward = ["https://10.0.0.1/", "https://[::1]:5001/", "https://localhost/", "https://169.254.169.254/"];
        for other in ["https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://x.LOCALHOST./"] {
            assert!(may("registry.example", proxy, other).is_err(), "{other}");
        }
        for inward in inward {
            assert!(may("registry.example", proxy, inward).is_err(), "{inward}");
            assert_eq!(may("registry.example", None, inward), Ok(()), "its address is checked on connection, {inward}");
        }
        assert_eq!(may("registry.example", proxy, "https://cdn.example/"), Ok(()));
        assert_eq!(may("10.0.0.1", proxy, "https://10.0.0.1:5001/"), Ok(()));
        assert_eq!(may("10.0.0.1", proxy, "https://10.0.0.2/"), Ok(()));
        assert!(may("10.0.0.1", proxy, "https://169.254.169.254/").is_err());
        assert_eq!(may("registry.example", None, "http://registry.example/"), Err("without TLS"));
    }

    #[test]
    fn threat_17_redirect_to_a_private_address_is_refused_unless_the_registry_has_one() {
        let names = Names::new("", "1.1.1.1 far.example\n10.0.0.1 near.example\n10.0.0.2 storage.example\n");
        let reach = |own: &str| Reach::new(Arc::new(names.clone()), Own::new(own.to_owned()), None);
        let far = reach("far.example");
        assert_eq!(far.addresses("far.example").unwrap(), [address("1.1.1.1")]);
        let refused = far.addresses("storage.example").unwrap_err();
        assert!(refused.to_string().contains("private network"), "{refused}");
        assert!(far.addresses("127.0.0.1").is_err());
        let near = reach("near.example");
        assert_eq!(near.addresses("near.example").unwrap(), [address("10.0.0.1")]);
        assert!(near.addresses("storage.example").is_err(), "there has been no connection");
        near.own.tried("near.example", address("10.0.0.1"));
        near.own.arrived();
        assert_eq!(near.addresses("storage.example").unwrap(), [address("10.0.0.2")]);
        assert!(near.addresses("169.254.169.254").is_err());
    }

    #[test]
    fn threat_17_connected_address_decides_whether_a_registry_is_private() {
        let hosts = "1.1.1.1 own.example\n10.0.0.1 own.example\n10.0.0.2 inside.example\n10.0.0.3 other.example\n";
        let own = Own::new("own.example".to_owned());
        let reach = Reach::new(Arc::new(Names::new("", hosts)), Arc::clone(&own), None);
        let lets_in = || {
            reach.addresses("own.example").unwrap();
            reach.addresses("inside.example").is_ok()
        };
        assert!(!lets_in());
        own.tried("own.example", address("10.0.0.1"));
        assert!(!lets_in(), "nobody with its certificate has answered there");
        own.tried("own.example", address("1.1.1.1"));
        own.arrived();
        assert!(!lets_in());
        own.tried("other.example", address("10.0.0.3"));
        own.arrived();
        assert!(!lets_in(), "another server's place");
        own.tried("own.example", address("10.0.0.1"));
        own.arrived();
        assert!(lets_in());
        own.tried("own.example", address("1.1.1.1"));
        own.arrived();
        assert!(!lets_in(), "the last one counts");
    }
}
