//! Whose a request is, as far as its address says: one client of IPv4 is an address, and of IPv6 a network of 64 bits, for every household
//! and every phone has one. Proxies say in `X-Forwarded-For` for whom they ask.
//!
//! Nothing is counted here.

use http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// Where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    is_v6: bool,
    bits: u64,
}

/// Addresses of proxies that are believed; `odradek.gateway.proxies`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies(Vec<(u128, u32)>);

impl Place {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { is_v6: false, bits: address.to_bits().into() },
            IpAddr::V6(address) => Self { is_v6: true, bits: (address.to_bits() >> 64) as u64 },
        }
    }

    /// As it is counted.
    pub fn bytes(self) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = self.bits.to_be_bytes();
        [self.is_v6.into(), a, b, c, d, e, f, g, h]
    }
}

impl Proxies {
    /// `listed` are addresses and networks such as `10.0.0.0/8`.
    pub fn new(listed: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
                None => (text.as_str(), None),
            };
            let address = address.parse::<IpAddr>().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.unwrap_or(most);
            (bits <= most).then(|| (number(address), bits + (128 - most)))
        };
        let read = |text| network(text).ok_or_else(|| wrong(text));
        Ok(Self(listed.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether this is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        self.0.iter().any(|(network, bits)| (address ^ network).checked_shr(128 - bits).unwrap_or(0) == 0)
    }

    /// For whom a peer asks. `None`: it is a proxy that does not say.
    ///
    /// Each proxy appends whom it was asked by, so that what a client makes up stands before that.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Place> {
        if !self.contains(peer) {
            return Some(Place::of(peer));
        }
        let said = headers.get_all("x-forwarded-for").iter().rev();
        let said = said.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        let client =
            said.map(|text| address(text.trim())).find(|said| said.is_none_or(|said| !self.contains(said)));
        client.flatten().map(Place::of)
    }
}

/// IPv4 as a part of IPv6.
fn number(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Some proxies write a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn wrong(text: &str) -> String {
    format!(
        "odradek.gateway.proxies has {text:?}; write addresses such as 10.1.2.3 and networks such as 10.0.0.0/8 or fd00::/8"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(listed: &[&str]) -> Proxies {
        Proxies::new(&listed.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_household_is_one_and_its_neighbour_another() {
        let same = |one, other| Place::of(ip(one)) == Place::of(ip(other));
        assert!(
            same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") && !same("2001:db8:1:2::1", "2001:db8:1:3::1")
        );
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"), "whichever listener it comes to");
        assert!(!same("0.0.0.1", "0:0:0:1::"));
        assert_ne!(Place::of(ip("0.0.0.1")).bytes(), Place::of(ip("0:0:0:1::")).bytes());
    }

    #[test]
    fn networks_have_their_addresses() {
        let some = proxies(&["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::1"]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "fdff::1", "::1", "::ffff:10.1.1.1"] {
            assert!(some.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.0", "9.255.255.255", "192.0.2.6", "fe00::1", "::2", "::"] {
            assert!(!some.contains(ip(outside)), "{outside}");
        }
        let all = proxies(&["0.0.0.0/0"]);
        assert!(all.contains(ip("203.0.113.9")) && !all.contains(ip("2001:db8::1")));
        assert!(proxies(&["::/0"]).contains(ip("2001:db8::1")));
        for wrong in
            ["10.0.0.0/33", "fd00::/129", "proxy.example", "10.0.0.0/", "10.0.0/8", "", "10.0.0.0/-1"]
        {
            let told = Proxies::new(&[wrong.to_owned()]).unwrap_err();
            assert!(told.contains("10.0.0.0/8"), "{told}");
        }
    }

    #[test]
    fn only_proxies_are_believed_and_only_what_they_say_themselves() {
        let some = proxies(&["10.0.0.0/8"]);
        let client = |peer: &str, said: &[&str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append("x-forwarded-for", said.parse().unwrap());
            }
            some.client(ip(peer), &headers)
        };
        let place = |text| Some(Place::of(ip(text)));
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), place("192.0.2.1"), "anyone can say that");
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), place("203.0.113.9"));
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1, 203.0.113.9"]),
            place("203.0.113.9"),
            "the first is made up"
        );
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "203.0.113.9, 10.0.0.2"]), place("203.0.113.9"));
        assert_eq!(client("10.0.0.1", &["203.0.113.9:4711"]), place("203.0.113.9"));
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), place("2001:db8::2"));
        assert_eq!(client("10.0.0.1", &["203.0.113.9, unknown"]), None);
        assert_eq!(client("10.0.0.1", &[]), None, "it asks for itself");
        assert_eq!(client("10.0.0.1", &["10.0.0.3"]), None);
    }
}
