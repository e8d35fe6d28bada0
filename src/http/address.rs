//! Which addresses a connection may go to: those of the internet, and for a rehearsal those of this machine.
//!
//! A name is looked up **once for each connection**, here, and the connection goes to the addresses that were looked at:
//! there is no second lookup in between that could answer otherwise. When one of a name's addresses is of a private
//! network, none is used: an answer that mixes them was made by somebody who wants to be let in. A name that means this
//! machine (`localhost`) may only lead to it, every other name and address only away from it.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use url::{Host, Url};

/// The addresses of a name, from whoever knows them.
pub(super) type Found = futures_util::future::BoxFuture<'static, io::Result<Vec<IpAddr>>>;
/// Who is asked for the addresses of a name.
pub(super) type Lookup = dyn Fn(String) -> Found + Send + Sync;
/// What is wrong with an address, in words; `None` when it may be used.
pub(super) type Judge = fn(IpAddr) -> Option<&'static str>;

/// An address that no request is sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` leads to {address}, {rule}; no request is sent there")]
pub struct RefusedAddress {
    /// The name, or the address itself.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Looks names up and refuses what they may not lead to.
#[derive(Clone)]
pub(super) struct Guarded {
    lookup: Arc<Lookup>,
    judge: Judge,
}

impl Guarded {
    /// Asks the system, and lets through what [`refused`] does not name.
    pub(super) fn system() -> Self {
        Self::new(Arc::new(|name| Box::pin(of_system(name))), refused)
    }

    pub(super) fn new(lookup: Arc<Lookup>, judge: Judge) -> Self {
        Self { lookup, judge }
    }
}

async fn of_system(name: String) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, guarded) = (name.as_str().to_owned(), self.clone());
        Box::pin(async move {
            let found = (guarded.lookup)(host.clone()).await?;
            let pinned = judged(&host, found, guarded.judge)?;
            let pinned = pinned.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok::<Addrs, Box<dyn Error + Send + Sync>>(Box::new(pinned))
        })
    }
}

/// All of a name's addresses, or the first that it may not lead to.
fn judged(host: &str, found: Vec<IpAddr>, judge: Judge) -> Result<Vec<IpAddr>, RefusedAddress> {
    let rule = |ip: IpAddr| {
        if is_this_machine(host) {
            (!ip.is_loopback()).then_some("which is not this machine, though its name says so")
        } else {
            judge(ip)
        }
    };
    match found.iter().find_map(|ip| Some((*ip, rule(*ip)?))) {
        Some((address, rule)) => Err(RefusedAddress {
            host: host.to_owned(),
            address,
            rule,
        }),
        None => Ok(found),
    }
}

/// Names that never mean anything but this machine (RFC 6761).
fn is_this_machine(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// What is wrong with an address that stands in a URL itself. This machine's own is a rehearsal's; names are looked at
/// when they are looked up.
///
/// # Errors
/// [`RefusedAddress`] names the rule.
pub fn check_literal(url: &Url) -> Result<(), RefusedAddress> {
    let address = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    match refused(address).filter(|_| !address.is_loopback()) {
        Some(rule) => Err(RefusedAddress {
            host: address.to_string(),
            address,
            rule,
        }),
        None => Ok(()),
    }
}

/// The rule by which an address is none of the internet's, if there is one.
#[must_use]
pub fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) => refused_v4(ip),
        IpAddr::V6(ip) => refused_v6(ip),
    }
}

/// IANA's special-purpose registry for IPv4, as far as it is not reachable from everywhere.
fn refused_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = ip.octets();
    Some(match (a, b, c) {
        (0, ..) => "an address of \"this network\" (0.0.0.0/8)",
        (10, ..) => "a private address (10.0.0.0/8)",
        (100, 64..=127, _) => "an address behind a provider's NAT (100.64.0.0/10)",
        (127, ..) => "an address of this machine (127.0.0.0/8)",
        (169, 254, _) => "a link-local address (169.254.0.0/16), where clouds keep their secrets",
        (172, 16..=31, _) => "a private address (172.16.0.0/12)",
        (192, 0, 0) => "an address of IETF protocols (192.0.0.0/24)",
        (192, 0, 2) => "an address for documentation (192.0.2.0/24)",
        (192, 88, 99) => "a 6to4 relay (192.88.99.0/24)",
        (192, 168, _) => "a private address (192.168.0.0/16)",
        (198, 18..=19, _) => "an address for benchmarks (198.18.0.0/15)",
        (198, 51, 100) => "an address for documentation (198.51.100.0/24)",
        (203, 0, 113) => "an address for documentation (203.0.113.0/24)",
        (224..=239, ..) => "a multicast address (224.0.0.0/4)",
        (240..=255, ..) => "a reserved or broadcast address (240.0.0.0/4)",
        _ => return None,
    })
}

/// The same for IPv6: only global unicast (`2000::/3`) is anybody's, less what carries another address inside.
fn refused_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, ..] = ip.segments();
    Some(match (a, b, c) {
        _ if ip.is_unspecified() => "the unspecified address (::)",
        _ if ip.is_loopback() => "an address of this machine (::1)",
        (0, 0, 0) => "an IPv4 address in the clothes of IPv6 (::/48), or reserved",
        (0x64, 0xff9b, _) => "an IPv4 address behind NAT64 (64:ff9b::/32)",
        (0x100, ..) => "a discarded address (100::/64)",
        (0xfc00..=0xfdff, ..) => "a private address (fc00::/7)",
        (0xfe80..=0xfebf, ..) => "a link-local address (fe80::/10)",
        (0xfec0..=0xfeff, ..) => "a site-local address (fec0::/10)",
        (0xff00..=0xffff, ..) => "a multicast address (ff00::/8)",
        (0x2001, 0..=0x1ff, _) => "an address of IETF protocols or Teredo (2001::/23)",
        (0x2001, 0xdb8, _) => "an address for documentation (2001:db8::/32)",
        (0x2002, ..) => "an IPv4 address behind 6to4 (2002::/16)",
        (0x3fff, 0..=0xfff, _) => "an address for documentation (3fff::/20)",
        (0x2000..=0x3fff, ..) => return None,
        _ => "an address outside of global unicast (2000::/3)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_internet_is_refused_with_its_rule() {
        for (address, rule) in [
            ("0.0.0.0", "this network"),
            ("0.1.2.3", "this network"),
            ("10.0.0.1", "10.0.0.0/8"),
            ("10.255.255.255", "10.0.0.0/8"),
            ("100.64.0.1", "NAT"),
            ("100.127.255.255", "NAT"),
            ("127.0.0.1", "this machine"),
            ("127.255.255.254", "this machine"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "172.16.0.0/12"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("192.0.0.8", "IETF"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.1.1", "192.168.0.0/16"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "this machine"),
            ("::ffff:10.0.0.1", "clothes"),
            ("::ffff:8.8.8.8", "clothes"),
            ("::7f00:1", "clothes"),
            ("64:ff9b::a00:1", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "discarded"),
            ("fc00::1", "fc00::/7"),
            ("fd12:3456::1", "fc00::/7"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("2001::1", "Teredo"),
            ("2001:db8::1", "documentation"),
            ("2002:a00:1::1", "6to4"),
            ("3fff::1", "documentation"),
            ("4000::1", "global unicast"),
        ] {
            let told = refused(address.parse().unwrap()).unwrap_or_default();
            assert!(told.contains(rule), "{address}: {told}");
        }
    }

    #[test]
    fn what_is_of_the_internet_goes_through() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "183.79.250.251",
            "192.1.0.1",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2400:cb00::1",
            "2606:4700::1111",
        ] {
            assert_eq!(refused(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn one_private_address_spoils_the_answer() {
        let found = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mixed = judged("shop.example", found(&["1.1.1.1", "10.0.0.1"]), refused).unwrap_err();
        assert_eq!(
            mixed.to_string(),
            "`shop.example` leads to 10.0.0.1, a private address (10.0.0.0/8); no request is sent there"
        );
        assert_eq!(
            judged("shop.example", found(&["1.1.1.1"]), refused)
                .unwrap()
                .len(),
            1
        );
        for host in ["localhost", "LOCALHOST.", "shop.localhost"] {
            assert!(judged(host, found(&["127.0.0.1", "::1"]), refused).is_ok());
            assert!(judged(host, found(&["1.1.1.1"]), refused).is_err(), "{host}");
        }
        assert!(judged("localhost.example", found(&["127.0.0.1"]), refused).is_err());
    }

    #[test]
    fn an_address_in_a_url_is_judged_however_it_is_written() {
        for (url, good) in [
            ("https://10.0.0.1/", false),
            ("https://0x0a000001/", false),
            ("https://167772161/", false),
            ("https://012.0.0.1/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://169.254.169.254/", false),
            ("https://0/", false),
            ("http://127.0.0.1/", true),
            ("http://2130706433/", true),
            ("http://[::1]/", true),
            ("https://1.1.1.1/", true),
            ("https://api.ebay.com/", true),
        ] {
            assert_eq!(check_literal(&Url::parse(url).unwrap()).is_ok(), good, "{url}");
        }
    }
}
