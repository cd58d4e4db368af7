//! Which resource of the public port a path names: a stream, or one of those below `/v1/` that are made of streams.

use super::{no_route, path::Path};
use crate::{mailboxes::Address, problem::Problem};
use model::TopicName;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/s/...`.
    Stream(Path),
    /// `/v1/latest/{topic}/{key}`: the last value of a key.
    Latest(Address),
    /// `/v1/subscribe`: many streams at once.
    Subscribe,
    /// `/v1/call/{topic}/{key}`: a record that is answered.
    Call(Address),
    /// `/v1/ws`: a WebSocket.
    Socket,
    /// `/v1/events/{topic}`: what is told as a CloudEvent.
    Events(TopicName),
}

impl Route {
    /// Reads the path of a request, without its query.
    pub(crate) fn parse(path: &str) -> Result<Self, Problem> {
        let Some(rest) = path.strip_prefix("/v1/") else { return Path::parse(path).map(Self::Stream) };
        if let Some(key) = rest.strip_prefix("latest/") {
            // What is no key there is none here.
            return match Path::parse(&format!("/s/{key}"))? {
                Path::Key(topic, key) => Ok(Self::Latest(Address { topic, key: key.into() })),
                _ => Err(no_route("below /v1/latest/ there is {topic}/{key}")),
            };
        }
        if let Some(key) = rest.strip_prefix("call/") {
            return match Path::parse(&format!("/s/{key}"))? {
                Path::Key(topic, key) => Ok(Self::Call(Address { topic, key: key.into() })),
                _ => Err(no_route("below /v1/call/ there is {topic}/{key}")),
            };
        }
        if rest == "subscribe" {
            return Ok(Self::Subscribe);
        }
        if rest == "ws" {
            return Ok(Self::Socket);
        }
        if let Some(name) = rest.strip_prefix("events/") {
            return match Path::parse(&format!("/s/{name}"))? {
                Path::Topic(topic) => Ok(Self::Events(topic)),
                _ => Err(no_route("below /v1/events/ there is {topic}")),
            };
        }
        Err(no_route(
            "below /v1/ there are latest/{topic}/{key}, call/{topic}/{key}, subscribe, ws and events/{topic}",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_path_names_one_resource() {
        let rides = || TopicName::new("rides").unwrap();
        let address = |route| match route {
            Route::Latest(at) => at,
            other => panic!("{other:?}"),
        };
        let latest =
            |key: &'static [u8]| Ok(Route::Latest(Address { topic: rides(), key: Bytes::from_static(key) }));
        for (path, expected) in [
            ("/s/rides", Ok(Route::Stream(Path::Topic(rides())))),
            ("/v1/latest/rides/u42", latest(b"u42")),
            ("/v1/latest/rides/eu%2fu42", latest(b"eu/u42")),
            ("/v1/latest/rides/%00%ff", latest(b"\x00\xff")),
            ("/v1/subscribe", Ok(Route::Subscribe)),
            ("/v1/call/rides/u42", Ok(Route::Call(latest(b"u42").map(address).unwrap()))),
            ("/v1/call/rides", Err(404)),
            ("/v1/ws", Ok(Route::Socket)),
            ("/v1/ws/x", Err(404)),
            ("/v1/subscribe/", Err(404)),
            ("/v1/subscribe/x", Err(404)),
            ("/v1/events/rides", Ok(Route::Events(rides()))),
            ("/v1/events/rides/u42", Err(404)),
            ("/v1/events", Err(404)),
            ("/v1/events/", Err(400)),
            ("/v1/latest/rides", Err(404)),
            ("/v1/latest/rides/", Err(404)),
            ("/v1/latest/rides/-/p/0", Err(404)),
            ("/v1/latest/rides/a/%2e%2e/b", Err(400)),
            ("/v1/latest/../b", Err(400)),
            ("/v1/", Err(404)),
            ("/v1/latest", Err(404)),
            ("/v2/latest/rides/u42", Err(404)),
        ] {
            let read = Route::parse(path).map_err(|problem| problem.status.as_u16());
            assert_eq!(read, expected, "{path}");
        }
    }
}
