//! Where a request has its token (RFC 6750): in `Authorization`, or for an `EventSource`, which cannot set headers, in the query or in a
//! cookie. In two places it could mean two people, and is refused.

use crate::{caller::Caller, origins::Page, problem::Problem, request};
use http::{HeaderMap, Method, Request, header};

/// A token that was verified, as an extension of its request: other nodes that are asked for its caller get it, and verify it again.
#[derive(Clone)]
pub struct Bearer(pub String);

/// Nobody reads it in a log.
impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// The token of a request for a page. `cookie`: the name of the one that is read.
pub(crate) fn token<T>(
    request: &Request<T>,
    page: &Page,
    cookie: Option<&str>,
) -> Result<Option<String>, Problem> {
    let mut said = request.headers().get_all(header::AUTHORIZATION).iter();
    let said = match (said.next(), said.next()) {
        (None, _) => None,
        (Some(_), Some(_)) => return Err(twice("Authorization is there more than once")),
        (Some(value), None) => {
            let (scheme, token) =
                value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Caller::refused("Authorization is none of Bearer"));
            }
            Some(token.trim().to_owned())
        }
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let asked = match request.uri().query().filter(|_| is_read) {
        None => None,
        Some(query) => request::one_of_query(query, "token")?,
    };
    match (said, asked) {
        (Some(_), Some(_)) => Err(twice("a token is in Authorization or in the query, not in both")),
        (Some(token), None) | (None, Some(token)) => Ok(Some(token)),
        // A browser adds cookies by itself, whoever asks: only pages that are named may have that done.
        (None, None) if matches!(page, Page::None | Page::Named(_)) => match cookie {
            Some(name) => from_cookie(request.headers(), name),
            None => Ok(None),
        },
        (None, None) => Ok(None),
    }
}

fn from_cookie(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(';'));
    let mut named = all.filter_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name));
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => {
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            Ok(Some(bare.to_owned()))
        }
        // A neighbour of the server's name can set one, too.
        (Some(_), Some(_)) => Err(twice("the cookie with the token is there more than once")),
    }
}

fn twice(text: &str) -> Problem {
    Problem::malformed("token", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(method: &str, uri: &str, headers: &[(&str, &str)], page: &Page) -> Result<Option<String>, u16> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        token(&request.body(()).unwrap(), page, Some("od")).map_err(|problem| problem.status.as_u16())
    }

    fn get(uri: &str, headers: &[(&str, &str)]) -> Result<Option<String>, u16> {
        read("GET", uri, headers, &Page::None)
    }

    #[test]
    fn a_token_is_in_one_of_three_places() {
        let some = |token: &str| Ok(Some(token.to_owned()));
        assert_eq!(get("/s/a/b", &[]), Ok(None));
        assert_eq!(get("/s/a/b", &[("authorization", "Bearer a.b.c")]), some("a.b.c"));
        assert_eq!(get("/s/a/b", &[("authorization", "bearer  a.b.c")]), some("a.b.c"));
        assert_eq!(get("/s/a/b?offset=-1&token=a.b.c", &[]), some("a.b.c"));
        assert_eq!(read("HEAD", "/s/a/b?token=x", &[], &Page::None), some("x"));
        assert_eq!(read("POST", "/s/a/b?token=x", &[], &Page::None), Ok(None), "an EventSource reads");
        assert_eq!(get("/s/a/b", &[("cookie", "other=1; od=a.b.c; x")]), some("a.b.c"));
        assert_eq!(get("/s/a/b", &[("cookie", "od=\"a.b.c\"")]), some("a.b.c"));
        assert_eq!(get("/s/a/b", &[("cookie", "odd=1")]), Ok(None));
        let bearer = ("authorization", "Bearer x");
        assert_eq!(
            get("/s/a/b", &[bearer, ("cookie", "od=y")]),
            some("x"),
            "a browser adds the cookie by itself"
        );
    }

    #[test]
    fn two_tokens_are_none() {
        let bearer = ("authorization", "Bearer x");
        assert_eq!(get("/s/a/b", &[bearer, bearer]), Err(400));
        assert_eq!(get("/s/a/b?token=x", &[bearer]), Err(400));
        assert_eq!(get("/s/a/b?token=x&token=y", &[]), Err(400));
        assert_eq!(get("/s/a/b", &[("cookie", "od=x; od=y")]), Err(400));
        assert_eq!(get("/s/a/b", &[("cookie", "od=x"), ("cookie", "od=y")]), Err(400));
        for other in ["Basic x", "Bearer", "x", ""] {
            assert_eq!(get("/s/a/b", &[("authorization", other)]), Err(401), "{other}");
        }
    }

    #[test]
    fn a_cookie_counts_for_pages_that_are_named_alone() {
        let page = |page: &Page| read("POST", "/s/a/b", &[("cookie", "od=x")], page);
        assert_eq!(
            page(&Page::Named(HeaderValue::from_static("https://a.example"))),
            Ok(Some("x".to_owned()))
        );
        assert_eq!(page(&Page::Any), Ok(None));
        assert_eq!(page(&Page::Stranger), Ok(None));
    }
}
