//! Whose requests are looked at: what is asked before any topic or key is, of every request and whatever it asks for.
//!
//! What the answer says to browsers is put on it here too, wherever the answer comes from.

use crate::{
    bearer, cors,
    hosts::Hosts,
    origins::{Origins, Page},
    problem::Problem,
};
use http::{HeaderMap, Request};

/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    /// By which names the server is called.
    pub hosts: Hosts,
    /// Pages of which origins may use it.
    pub origins: Origins,
    /// In which cookie a token may be.
    pub cookie: Option<String>,
}

impl Screen {
    /// For which page a request is, and whether it is looked at. `is_local`: it came to a listener that only this machine reaches.
    pub fn look<T>(&self, request: &Request<T>, is_local: bool) -> (Page, Result<(), Problem>) {
        let page = self.origins.page(request);
        let allowed =
            self.hosts.check(request, is_local).and_then(|()| Origins::check(&page, request.method()));
        (page, allowed)
    }

    /// The token of a request.
    pub fn token<T>(&self, request: &Request<T>, page: &Page) -> Result<Option<String>, Problem> {
        bearer::token(request, page, self.cookie.as_deref())
    }

    /// Says on an answer which page may read it. `has_tokens`: what is answered depends on who asks.
    pub fn mark(&self, page: &Page, has_tokens: bool, headers: &mut HeaderMap) {
        self.origins.mark(page, headers);
        if has_tokens {
            cors::vary(headers, "Authorization");
        }
        if has_tokens && self.cookie.is_some() {
            cors::vary(headers, "Cookie");
            if let Page::Named(_) = page {
                cors::put(headers, "access-control-allow-credentials", "true");
            }
        }
    }
}
