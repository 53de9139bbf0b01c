//! Where a server may send us. The registry itself is where the file says; what it names (redirects, token servers) must not lead
//! into this host's own network, unless the registry lies there too (server-side request forgery).

use crate::fault::Refused;
use crate::resolve::{Names, literal};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The resolver of one endpoint's client.
#[derive(Debug)]
pub struct Reach {
    names: Arc<Names>,
    /// The endpoint's host, which the file names.
    own: String,
    /// Its proxy's, which the file names too.
    proxy: Option<String>,
    /// Whether the endpoint was found to lie in a private network.
    near: Mutex<bool>,
}

impl Reach {
    /// For an endpoint and, where it has one, its proxy.
    pub fn new(names: Arc<Names>, own: String, proxy: Option<String>) -> Self {
        Self { names, own, proxy, near: Mutex::new(false) }
    }

    /// The addresses that may be connected to for this host.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.names.resolve(host)?;
        let poisoned = |_| io::Error::other("a lock is poisoned");
        let mut near = self.near.lock().map_err(poisoned)?;
        if host.eq_ignore_ascii_case(&self.own) {
            *near = *near || found.iter().any(|address| !is_global(*address));
            return Ok(found);
        }
        if self.proxy.as_deref().is_some_and(|proxy| proxy.eq_ignore_ascii_case(host)) {
            return Ok(found);
        }
        let all = found.len();
        let allowed: Vec<_> = found.into_iter().filter(|address| may_follow(*address, *near)).collect();
        if all > 0 && allowed.is_empty() {
            let reason = format!("{host} lies in a private network, where the registry itself does not");
            return Err(io::Error::other(Refused(reason)));
        }
        Ok(allowed)
    }
}

/// Whether a server may send us to this address; link-local ones (cloud metadata is there) never.
fn may_follow(address: IpAddr, near: bool) -> bool {
    is_global(address) || (near && !is_link_local(address))
}

/// Whether a host that is an address lies inward: for what goes through a proxy, and so is not resolved here.
pub fn is_inward(host: &str) -> bool {
    literal(host).is_some_and(|address| !is_global(address))
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::254 is a metadata service too, in a range that is otherwise private.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// Not this host, not this network: RFC 6890's special registries, in brief.
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
    fn threat_17_and_31_what_a_registry_names_is_outside() {
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
        assert!(is_inward("[::1]") && is_inward("10.0.0.1") && !is_inward("a.example") && !is_inward("1.1.1.1"));
    }

    #[test]
    fn threat_17_a_redirect_inward_is_refused_unless_the_registry_is_there() {
        let names = Names::new("", "1.1.1.1 far.example\n10.0.0.1 near.example\n10.0.0.2 storage.example\n");
        let reach = |own: &str| Reach::new(Arc::new(names.clone()), own.to_owned(), None);
        let far = reach("far.example");
        assert_eq!(far.addresses("far.example").unwrap(), [address("1.1.1.1")]);
        let refused = far.addresses("storage.example").unwrap_err();
        assert!(refused.to_string().contains("private network"), "{refused}");
        assert!(far.addresses("127.0.0.1").is_err());
        let near = reach("near.example");
        near.addresses("near.example").unwrap();
        assert_eq!(near.addresses("storage.example").unwrap(), [address("10.0.0.2")]);
        assert!(near.addresses("169.254.169.254").is_err());
    }
}
