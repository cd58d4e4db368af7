//! What a node was told of who may use its streams over HTTP.
//!
//! It only reads; what the values mean is in `gateway`.

use crate::public_http::{Limits, TokenRules};
use gateway::{Hosts, Origins, Proxies, Screen};
use metadata::config::{Resolved, Statics};
use tokens::Rules;

const FILE: &str = "odradek.gateway.tokens.keys.file";
const REQUIRED: &str = "odradek.gateway.tokens.required";

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Pages and names.
    pub(crate) screen: Screen,
    /// How much one address may have.
    pub(crate) limits: Limits,
    /// Which tokens are believed.
    pub(crate) tokens: TokenRules,
}

impl Trust {
    /// Adds what is wrong to `problems`.
    pub(super) fn read(
        statics: &Statics,
        resolved: &Resolved<'_>,
        public_url: Option<&str>,
        problems: &mut Vec<String>,
    ) -> Self {
        let list =
            |key: &str| resolved.list(key).into_iter().filter(|one| !one.is_empty()).collect::<Vec<_>>();
        let hosts = Hosts::new(&list("odradek.gateway.hosts"), public_url);
        let origins = Origins::new(&list("odradek.gateway.cors.origins"), public_url);
        let number = |key: &str| u32::try_from(resolved.integer(key)).unwrap_or(0);
        let limits = Limits {
            connections_max: number("odradek.gateway.address.connections.max"),
            requests_per_second: number("odradek.gateway.address.requests.per.second"),
            proxies: or_problem(Proxies::new(&list("odradek.gateway.proxies")), problems),
        };
        let text =
            |key: &str| resolved.text(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let cookie = text("odradek.gateway.tokens.cookie");
        if cookie.as_ref().is_some_and(|name| {
            !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        }) {
            problems
                .push("odradek.gateway.tokens.cookie is a name of letters, digits, '-', '_' and '.'".into());
        }
        let tokens = TokenRules {
            keys_file: text(FILE).map(Into::into),
            is_required: resolved.flag(REQUIRED),
            rules: Rules {
                issuers: list("odradek.gateway.tokens.issuers"),
                audiences: list("odradek.gateway.tokens.audiences"),
                leeway_seconds: number("odradek.gateway.tokens.leeway.seconds"),
            },
        };
        if tokens.keys_file.is_none() && tokens.is_required && statics.get(REQUIRED).is_some() {
            problems.push(format!(
                "{REQUIRED} is true, and there are no keys to verify tokens with; name some in {FILE}"
            ));
        }
        let (hosts, origins) = (or_problem(hosts, problems), or_problem(origins, problems));
        Self { screen: Screen { hosts, origins, cookie }, limits, tokens }
    }
}

fn or_problem<T: Default>(read: Result<T, String>, problems: &mut Vec<String>) -> T {
    read.unwrap_or_else(|why| {
        problems.push(why);
        T::default()
    })
}
