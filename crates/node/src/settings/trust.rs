//! What a node was told of who may use its streams over HTTP.
//!
//! It only reads; what the values mean is in `gateway`.

use crate::public_http::Limits;
use gateway::{Hosts, Origins, Proxies, Screen};
use metadata::config::Resolved;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Pages and names.
    pub(crate) screen: Screen,
    /// How much one address may have.
    pub(crate) limits: Limits,
}

impl Trust {
    /// Adds what is wrong to `problems`.
    pub(super) fn read(resolved: &Resolved<'_>, public_url: Option<&str>, problems: &mut Vec<String>) -> Self {
        let list = |key: &str| resolved.list(key).into_iter().filter(|one| !one.is_empty()).collect::<Vec<_>>();
        let hosts = Hosts::new(&list("odradek.gateway.hosts"), public_url);
        let origins = Origins::new(&list("odradek.gateway.cors.origins"), public_url);
        let number = |key: &str| u32::try_from(resolved.integer(key)).unwrap_or(0);
        let limits = Limits {
            connections_max: number("odradek.gateway.address.connections.max"),
            requests_per_second: number("odradek.gateway.address.requests.per.second"),
            proxies: or_problem(Proxies::new(&list("odradek.gateway.proxies")), problems),
        };
        let screen = Screen { hosts: or_problem(hosts, problems), origins: or_problem(origins, problems) };
        Self { screen, limits }
    }
}

fn or_problem<T: Default>(read: Result<T, String>, problems: &mut Vec<String>) -> T {
    read.unwrap_or_else(|why| {
        problems.push(why);
        T::default()
    })
}
