//! Whose requests are looked at: what is asked before any topic or key is, of every request and whatever it asks for.
//!
//! What the answer says to browsers is put on it here too, wherever the answer comes from.

use crate::{
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
}

impl Screen {
    /// For which page a request is, and whether it is looked at. `is_local`: it came to a listener that only this machine reaches.
    pub fn look<T>(&self, request: &Request<T>, is_local: bool) -> (Page, Result<(), Problem>) {
        let page = self.origins.page(request);
        let allowed = self.hosts.check(request, is_local).and_then(|()| Origins::check(&page, request.method()));
        (page, allowed)
    }

    /// Says on an answer which page may read it.
    pub fn mark(&self, page: &Page, headers: &mut HeaderMap) {
        self.origins.mark(page, headers);
    }
}
