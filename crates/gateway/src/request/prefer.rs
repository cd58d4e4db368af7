//! `Prefer: wait=N` (RFC 7240, section 4.3): how long a client lets an answer wait for news.

use http::HeaderMap;

/// The seconds that a client would wait. What is malformed or of another kind is passed over, as the standard has it, and of several
/// the first one counts.
pub(crate) fn wait_seconds(headers: &HeaderMap) -> Option<u64> {
    let texts = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let is_wait = name.trim().eq_ignore_ascii_case("wait") && is_number;
        // More seconds than a number holds are as many as it holds.
        is_wait.then(|| value.parse().unwrap_or(u64::MAX))
    })
}

/// Whether a client would rather be told where the answer will be than wait for it (section 4.1).
pub(crate) fn responds_async(headers: &HeaderMap) -> bool {
    let texts = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    let mut all = texts.flat_map(|text| text.split(','));
    all.any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("respond-async")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn seconds(texts: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append("prefer", HeaderValue::from_str(text).unwrap());
        }
        wait_seconds(&headers)
    }

    #[test]
    fn the_first_wait_that_is_a_number_counts() {
        for (texts, expected) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, WAIT = \"7\" ; x=1"], Some(7)),
            (&["return=minimal", "wait=3, wait=9"], Some(3)),
            (&["wait=99999999999999999999999"], Some(u64::MAX)),
            (&["wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "await=3"], None),
            (&["wait=x, wait=4"], Some(4)),
            (&[], None),
        ] {
            assert_eq!(seconds(texts), expected, "{texts:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "[ -~]{0,60}") {
            let _ = seconds(&[&text]);
        }
    }
}
