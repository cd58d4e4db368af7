//! By which names clients may call the server: a page of a stranger whose name is made to point at this machine (DNS rebinding) is told
//! by its `Host`, and by nothing else.
//!
//! Who may call is not decided here. The setting is `odradek.gateway.hosts`.

use crate::problem::Problem;
use http::{Request, StatusCode, Version, header::HOST};
use std::net::{IpAddr, Ipv6Addr};

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// The only ones besides this machine's own names; `None`: any, but for what listens on this machine alone.
    listed: Option<Vec<String>>,
    /// The host of the public address.
    public: Option<String>,
    is_any: bool,
}

impl Hosts {
    /// `listed` are names or addresses without ports, or `*`; `public_url` is what clients are told.
    pub fn new(listed: &[String], public_url: Option<&str>) -> Result<Self, String> {
        let is_any = listed.iter().any(|one| one == "*");
        let named = listed.iter().filter(|one| *one != "*").map(|one| match name(one) {
            // With a port it is longer than its name.
            Some(name) if one.trim_matches(['[', ']']).len() == name.len() => Ok(name),
            _ => Err(wrong(one)),
        });
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let public = public_url.and_then(|url| name(authority(url)));
        Ok(Self { listed: (!named.is_empty()).then_some(named), public, is_any })
    }

    /// Refuses a request that calls the server by a name that is not its own. `is_local`: it came to a listener that only this machine
    /// reaches.
    pub(crate) fn check<T>(&self, request: &Request<T>, is_local: bool) -> Result<(), Problem> {
        let mut called = request.headers().get_all(HOST).iter();
        let (first, second) = (called.next(), called.next());
        let said = match first {
            Some(_) if second.is_some() => return Err(malformed("Host is there more than once")),
            Some(value) => {
                let said = value.to_str().ok().and_then(name);
                Some(said.ok_or_else(|| malformed("Host is no name or address with or without a port"))?)
            }
            None => None,
        };
        let target = request.uri().authority().and_then(|authority| name(authority.as_str()));
        if said.is_none() && target.is_none() && request.version() != Version::HTTP_10 {
            return Err(malformed("a request says by Host whom it asks"));
        }
        match said.iter().chain(&target).find(|name| !self.allows(name, is_local)) {
            Some(_) => Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "other-host",
                "no server of this name is here; whoever runs it lists the name in odradek.gateway.hosts, or sets \
                 odradek.gateway.public.url",
            )),
            None => Ok(()),
        }
    }

    fn allows(&self, name: &String, is_local: bool) -> bool {
        let is_own = || is_loopback(name) || self.public.as_ref() == Some(name);
        match &self.listed {
            _ if self.is_any => true,
            Some(listed) => listed.contains(name) || is_own(),
            None => !is_local || is_own(),
        }
    }
}

/// What stands between the scheme and the path of an address.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The name or address of an authority, without its port, in the one way that is compared.
pub(crate) fn name(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
        }
        None if authority.parse::<Ipv6Addr>().is_ok() => (authority, ""),
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            (Some(host).filter(|_| is_name)?, port)
        }
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_whole = port.bytes().all(|byte| byte.is_ascii_digit()) && !host.is_empty();
    is_whole.then(|| host.to_ascii_lowercase())
}

/// Whether a name means this machine, wherever it is asked for (RFC 6761, section 6.3).
pub(crate) fn is_loopback(name: &str) -> bool {
    let is_address = || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    name == "localhost" || name.ends_with(".localhost") || is_address()
}

fn wrong(text: &str) -> String {
    format!(
        "odradek.gateway.hosts has {text:?}; write a name such as streams.example.com or an address, without scheme and port, or *"
    )
}

fn malformed(text: &str) -> Problem {
    Problem::malformed("host", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listed: &[&str], public_url: Option<&str>) -> Hosts {
        let listed: Vec<_> = listed.iter().map(|one| (*one).to_owned()).collect();
        Hosts::new(&listed, public_url).unwrap()
    }

    fn status(hosts: &Hosts, host: &str, is_local: bool) -> u16 {
        let request = Request::get("/s/rides/u42").header("host", host).body(()).unwrap();
        hosts.check(&request, is_local).map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn what_listens_on_this_machine_alone_is_called_by_its_own_names() {
        let none = hosts(&[], None);
        let own =
            ["localhost", "LOCALHOST:8080", "localhost.", "app.localhost:1", "127.0.0.1:8080", "127.9.9.9"];
        for host in own.iter().chain(&["[::1]:8080", "[::ffff:127.0.0.1]"]) {
            assert_eq!(status(&none, host, true), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1",
            "0.0.0.0:8080",
            "[::2]",
        ] {
            assert_eq!(status(&none, host, true), 421, "{host}");
            assert_eq!(status(&none, host, false), 200, "{host}: others are not known before they are named");
        }
        for host in ["", "a b", "a:b", "[::1", "[::1]x", "a:1:2", "a/b", "u@h"] {
            assert_eq!(status(&none, host, true), 400, "{host:?}");
        }
    }

    #[test]
    fn more_names_are_listed() {
        let listed = hosts(&["Streams.example.com"], Some("https://other.example:8443/x"));
        for is_local in [true, false] {
            for host in ["streams.example.com", "streams.example.com:8080", "other.example", "localhost"] {
                assert_eq!(status(&listed, host, is_local), 200, "{host}");
            }
            assert_eq!(status(&listed, "evil.example", is_local), 421);
        }
        let public = hosts(&[], Some("https://other.example"));
        assert_eq!(
            (status(&public, "other.example", true), status(&public, "evil.example", true)),
            (200, 421)
        );
        assert_eq!(status(&hosts(&["*"], None), "evil.example", true), 200);
        for wrong in ["https://a", "a:8080", "a/b", "", "b\u{fc}cher.example", "[::1]:1"] {
            let told = Hosts::new(&[wrong.to_owned()], None).unwrap_err();
            assert!(told.contains("without scheme and port"), "{told}");
        }
        assert!(Hosts::new(&["::1".to_owned(), "[::2]".to_owned()], None).is_ok());
    }

    #[test]
    fn both_places_where_a_request_names_a_host_count() {
        let none = hosts(&[], None);
        let check =
            |request: Request<()>| none.check(&request, true).map_err(|problem| problem.status.as_u16());
        let request = |uri: &str, hosts: &[&str]| {
            let mut request = Request::get(uri);
            for host in hosts {
                request = request.header("host", *host);
            }
            request.body(()).unwrap()
        };
        assert_eq!(check(request("http://evil.example/s/a/b", &["localhost"])), Err(421));
        assert_eq!(check(request("http://localhost/s/a/b", &["evil.example"])), Err(421));
        assert_eq!(check(request("http://localhost:1/s/a/b", &[])), Ok(()));
        assert_eq!(check(request("/s/a/b", &["localhost", "localhost"])), Err(400));
        assert_eq!(check(request("/s/a/b", &[])), Err(400), "HTTP/1.1 has one");
        let mut old = request("/s/a/b", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(check(old), Ok(()), "no browser speaks HTTP/1.0");
    }
}
