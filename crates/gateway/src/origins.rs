//! Which pages may use streams: a browser says of a request for a page of which origin (RFC 6454) it is, and keeps the answer from a
//! page that the server does not name (WHATWG Fetch, section 3.2).
//!
//! What is no browser sends no `Origin`, and is not asked for one. The setting is `odradek.gateway.cors.origins`.

use crate::{cors, hosts, problem::Problem};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

/// What stands for the pages that this machine serves itself, at any port.
const LOOPBACK: &str = "loopback";

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    /// As browsers write them.
    listed: Vec<String>,
    /// Any page that this machine serves itself.
    is_loopback: bool,
    is_any: bool,
}

/// For which page a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// None that is known of, or one of the server's own origin.
    None,
    /// One that may use it, as any may.
    Any,
    /// One that may use it.
    Named(HeaderValue),
    /// One that may not.
    Stranger,
}

impl Origins {
    /// `listed` are origins, `loopback`, or `*`; pages of `public_url` are always among them.
    pub fn new(listed: &[String], public_url: Option<&str>) -> Result<Self, String> {
        let mut origins = Self::default();
        for one in listed {
            match one.as_str() {
                "*" => origins.is_any = true,
                LOOPBACK => origins.is_loopback = true,
                one => origins.listed.push(origin(one).ok_or_else(|| wrong(one))?),
            }
        }
        let public = public_url.and_then(|url| {
            let scheme = url.split_once("://")?.0;
            origin(&format!("{scheme}://{}", hosts::authority(url)))
        });
        origins.listed.extend(public);
        Ok(origins)
    }

    /// For which page a request is.
    pub(crate) fn page<T>(&self, request: &Request<T>) -> Page {
        let mut said = request.headers().get_all(header::ORIGIN).iter();
        match (said.next(), said.next()) {
            (None, _) if !is_embedded(request.headers()) => Page::None,
            (_, None) if self.is_any => Page::Any,
            (Some(origin), None) if origin.to_str().is_ok_and(|origin| self.allows(origin)) => {
                Page::Named(origin.clone())
            }
            _ => Page::Stranger,
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let is_loopback = || match origin.split_once("://") {
            Some(("http" | "https", authority)) => {
                hosts::name(authority).is_some_and(|name| hosts::is_loopback(&name))
            }
            _ => false,
        };
        self.listed.iter().any(|one| one == origin) || self.is_loopback && is_loopback()
    }

    /// Refuses what is asked for a page that may not. A question what pages may do is answered in any case.
    pub(crate) fn check(page: &Page, method: &Method) -> Result<(), Problem> {
        if *page != Page::Stranger || *method == Method::OPTIONS {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "other-origin",
            "pages of this origin may not use these streams; whoever runs the server lists it in odradek.gateway.cors.origins",
        ))
    }

    /// What an answer tells browsers.
    pub(crate) fn mark(&self, page: &Page, headers: &mut HeaderMap) {
        let resource = if self.is_any { "cross-origin" } else { "same-origin" };
        cors::put(headers, "cross-origin-resource-policy", resource);
        let allowed = match page {
            Page::Any => HeaderValue::from_static("*"),
            Page::Named(origin) => origin.clone(),
            // Of a stranger nothing is said, and so it is kept from the answer.
            Page::None | Page::Stranger => {
                headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
                cors::vary(headers, "Origin");
                return;
            }
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        cors::put(headers, "access-control-expose-headers", cors::TOLD);
        cors::vary(headers, "Origin");
    }
}

/// Whether a browser asks for a page of another site without saying of which origin, as for a picture or a frame in it. What is typed
/// in or followed as a link is shown to its user alone.
fn is_embedded(headers: &HeaderMap) -> bool {
    let says = |name: &str, text: &str| headers.get(name).is_some_and(|value| value == text);
    let is_foreign = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
    is_foreign && !says("sec-fetch-dest", "document")
}

/// An origin as browsers write it.
fn origin(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let name = hosts::name(authority).filter(|_| !scheme.is_empty() && scheme.bytes().all(is_scheme))?;
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let authority = authority.strip_suffix(usual).unwrap_or(authority);
    (!name.is_empty()).then(|| format!("{scheme}://{authority}"))
}

fn wrong(text: &str) -> String {
    format!(
        "odradek.gateway.cors.origins has {text:?}; write origins such as https://app.example.com, without a path, or loopback for the \
         pages that this machine serves itself, or * for any"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listed: &[&str], public_url: Option<&str>) -> Origins {
        let listed: Vec<_> = listed.iter().map(|one| (*one).to_owned()).collect();
        Origins::new(&listed, public_url).unwrap()
    }

    fn page(origins: &Origins, headers: &[(&str, &str)]) -> Page {
        let mut request = Request::get("/s/rides/u42");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        origins.page(&request.body(()).unwrap())
    }

    fn named(origin: &'static str) -> Page {
        Page::Named(HeaderValue::from_static(origin))
    }

    #[test]
    fn only_pages_that_are_listed_may_and_who_is_no_page_may() {
        let some =
            origins(&["https://App.example.com:443/", "capacitor://localhost"], Some("http://h:8080/x"));
        for allowed in ["https://app.example.com", "capacitor://localhost", "http://h:8080"] {
            assert_eq!(page(&some, &[("origin", allowed)]), named(allowed));
        }
        let strangers = [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil.example",
            "http://localhost:3000",
            "http://h",
            "null",
            "",
            "https://APP.example.com",
        ];
        for stranger in strangers {
            assert_eq!(page(&some, &[("origin", stranger)]), Page::Stranger, "{stranger}");
        }
        let two = [("origin", "https://app.example.com"), ("origin", "https://app.example.com")];
        assert_eq!(page(&some, &two), Page::Stranger);
        assert_eq!(page(&some, &[]), Page::None);
        assert_eq!(page(&origins(&[], None), &[("origin", "http://localhost")]), Page::Stranger);
    }

    #[test]
    fn pages_of_this_machine_are_those_of_its_own_names_at_any_port() {
        let loopback = origins(&["loopback"], None);
        for own in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:8000", "http://app.localhost"]
        {
            assert!(matches!(page(&loopback, &[("origin", own)]), Page::Named(_)), "{own}");
        }
        for other in [
            "http://localhost.evil.example",
            "http://192.168.0.7:5173",
            "ftp://localhost",
            "localhost",
            "null",
        ] {
            assert_eq!(page(&loopback, &[("origin", other)]), Page::Stranger, "{other}");
        }
    }

    #[test]
    fn what_a_foreign_page_embeds_is_refused_and_what_a_user_opens_is_not() {
        let none = origins(&["loopback"], None);
        let site = |site, dest| page(&none, &[("sec-fetch-site", site), ("sec-fetch-dest", dest)]);
        assert_eq!(site("cross-site", "image"), Page::Stranger);
        assert_eq!(site("same-site", "iframe"), Page::Stranger);
        assert_eq!(site("cross-site", "document"), Page::None);
        assert_eq!(site("none", "document"), Page::None);
        assert_eq!(site("same-origin", "empty"), Page::None);
        let embedded = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")];
        assert_eq!(page(&origins(&["*"], None), &embedded), Page::Any);
    }

    #[test]
    fn an_answer_names_the_page_that_may_read_it() {
        let mark = |origins: &Origins, page: &Page| {
            let mut headers = HeaderMap::new();
            // Another node has answered, and has another setting.
            headers.insert("access-control-allow-origin", HeaderValue::from_static("https://other.example"));
            headers.insert("vary", HeaderValue::from_static("Accept"));
            origins.mark(page, &mut headers);
            let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(text("vary").as_deref(), Some("Accept, Origin"));
            (text("access-control-allow-origin"), text("cross-origin-resource-policy").unwrap())
        };
        let (some, any) = (origins(&["https://a.example"], None), origins(&["*"], None));
        let same = || "same-origin".to_owned();
        assert_eq!(mark(&some, &named("https://a.example")), (Some("https://a.example".into()), same()));
        assert_eq!(mark(&some, &Page::Stranger), (None, same()));
        assert_eq!(mark(&some, &Page::None), (None, same()));
        assert_eq!(mark(&any, &Page::Any), (Some("*".into()), "cross-origin".into()));
    }

    #[test]
    fn only_what_is_no_origin_is_refused_as_a_setting() {
        for wrong in [
            "app.example.com",
            "https://a/b",
            "https://",
            "null",
            "https://a b",
            "https://b\u{fc}cher.example",
        ] {
            let told = Origins::new(&[wrong.to_owned()], None).unwrap_err();
            assert!(told.contains("https://app.example.com, without a path"), "{told}");
        }
        let preflight = Origins::check(&Page::Stranger, &Method::OPTIONS);
        assert!(preflight.is_ok() && Origins::check(&Page::Stranger, &Method::GET).is_err());
    }
}
