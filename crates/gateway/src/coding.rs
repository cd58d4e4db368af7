//! Bodies that are compressed on their way (RFC 9110, section 8.4): which codings there are, unpacking within a limit, and packing an
//! answer for those who accept that.
//!
//! What is followed is not packed: readers of one stream are sent the same bytes, and keep no window each.

use crate::{
    cors,
    mailboxes::Denied,
    problem::Problem,
    request::text,
    serve::{problem, put},
};
use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mailbox::media_type;
use std::io::{self, Read, Write};
use zstd::stream::read::Decoder;

/// See the head of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932; of requests alone, for to pack it so takes long.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// What there is, in the order in which the server likes to send it.
const KNOWN: &str = "zstd, br, gzip";
/// No more is unpacked, whatever a topic takes: it is done at once, and nobody else has that thread meanwhile.
const UNPACKED_BYTES_MAX: usize = 8 << 20;
/// The largest window that a frame of zstd may want (RFC 9659): 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
/// What is shorter is not worth it.
const PACKED_BYTES_MIN: usize = 1024;
/// The answer waits for it.
const LEVEL: i32 = 1;

impl Coding {
    /// How the body of a request is packed, if it is.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(said) = text(headers, "content-encoding")? else { return Ok(None) };
        match said.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "br" => Ok(Some(Self::Brotli)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => {
                let text = format!("a body is packed in one of {KNOWN}, once, or not at all");
                let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", text);
                Err(problem.with("accept-encoding", KNOWN))
            }
        }
    }

    /// What was packed, if it is no more than so many bytes.
    pub fn unpack(self, packed: &[u8], bytes_max: usize) -> Result<Bytes, Problem> {
        let bytes_max = bytes_max.min(UNPACKED_BYTES_MAX);
        let unpacked = match self {
            Self::Gzip => read(MultiGzDecoder::new(packed), bytes_max),
            Self::Brotli => read(Decompressor::new(packed, packed.len().clamp(1, 4096)), bytes_max),
            Self::Zstd => Decoder::with_buffer(packed).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                read(decoder, bytes_max)
            }),
        };
        match unpacked {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(problem(Denied::TooLarge(bytes_max))),
            Err(error) => {
                let text = format!("the body is not what Content-Encoding says: {error}");
                Err(Problem::malformed("content-encoding", text))
            }
        }
    }

    fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::stream::encode_all(body, LEVEL),
            Self::Gzip | Self::Brotli => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL.unsigned_abs()));
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// All of it; `None`: it is more.
fn read(from: impl Read, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= bytes_max).then_some(bytes))
}

/// Packs an answer to a request with these headers, if that is accepted and worth it.
pub(crate) fn pack(asked: &HeaderMap, response: &mut Response<Bytes>) {
    let is_read = [StatusCode::OK, StatusCode::NOT_MODIFIED].contains(&response.status());
    if !is_read || response.headers().contains_key(header::CONTENT_ENCODING) {
        return;
    }
    cors::vary(response.headers_mut(), "Accept-Encoding");
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_text = kind.is_some_and(|kind| is_text(&media_type(kind)));
    // A page of a stranger that has its victim's browser ask again and again could learn from lengths what it may not read.
    let is_by_cookie = asked.contains_key(header::COOKIE);
    if response.body().len() < PACKED_BYTES_MIN || !is_text || is_by_cookie {
        return;
    }
    let Some((coding, name)) = accepted(asked) else { return };
    let Ok(packed) = coding.pack(response.body()) else { return };
    if packed.len() >= response.body().len() {
        return;
    }
    *response.body_mut() = packed.into();
    let headers = response.headers_mut();
    put(headers, "content-encoding", name);
    headers.remove(header::CONTENT_LENGTH);
    // These are other bytes than those that the tag is of.
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let tag = tag.filter(|tag| !tag.starts_with("W/")).map(|tag| format!("W/{tag}"));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
}

/// Whether it may become shorter.
fn is_text(kind: &str) -> bool {
    let known = ["application/json", "application/javascript", "application/xml", "application/x-ndjson"];
    kind.starts_with("text/") || known.contains(&kind) || kind.ends_with("+json") || kind.ends_with("+xml")
}

/// Which coding is accepted most.
fn accepted(asked: &HeaderMap) -> Option<(Coding, &'static str)> {
    let texts = asked.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let all: Vec<(String, f32)> = texts.flat_map(|text| text.split(',')).map(weighed).collect();
    let weight = |name: &str| {
        let said = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, weight)| *weight);
        said(name).or_else(|| said("*")).unwrap_or(0.0)
    };
    match (weight("zstd"), weight("gzip")) {
        (zstd, gzip) if zstd > 0.0 && zstd >= gzip => Some((Coding::Zstd, "zstd")),
        (_, gzip) if gzip > 0.0 => Some((Coding::Gzip, "gzip")),
        _ => None,
    }
}

/// A coding, and how much it is wanted (RFC 9110, section 12.4.2).
fn weighed(one: &str) -> (String, f32) {
    let (name, rest) = one.split_once(';').unwrap_or((one, ""));
    let weight = rest.trim().strip_prefix("q=").map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
    (name.trim().to_ascii_lowercase(), weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `{"hello": "brotli"}`, by Google's tool.
    const BROTLI: &[u8] = b"\x0b\x09\x80{\"hello\": \"brotli\"}\x03";

    fn status(unpacked: Result<Bytes, Problem>) -> Result<Bytes, u16> {
        unpacked.map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn what_was_packed_is_unpacked_up_to_the_limit() {
        let text = "x".repeat(100_000);
        for coding in [Coding::Gzip, Coding::Zstd] {
            let packed = coding.pack(text.as_bytes()).unwrap();
            assert!(packed.len() < 1000);
            assert_eq!(status(coding.unpack(&packed, 100_000)), Ok(Bytes::from(text.clone())));
            assert_eq!(status(coding.unpack(&packed, 99_999)), Err(413), "a bomb");
            let twice = [&packed[..], &packed[..]].concat();
            assert_eq!(coding.unpack(&twice, 1 << 20).unwrap().len(), 200_000, "one behind the other is one");
            assert_eq!(status(coding.unpack(&packed[..packed.len() - 5], 1 << 20)), Err(400), "cut off");
            assert_eq!(status(coding.unpack(b"no such thing", 1 << 20)), Err(400));
        }
        assert_eq!(
            status(Coding::Brotli.unpack(BROTLI, 100)),
            Ok(Bytes::from_static(b"{\"hello\": \"brotli\"}"))
        );
        assert_eq!(status(Coding::Brotli.unpack(BROTLI, 18)), Err(413));
        assert_eq!(status(Coding::Brotli.unpack(&BROTLI[..10], 100)), Err(400));
        let zeros = Coding::Gzip.pack(&vec![0; UNPACKED_BYTES_MAX + 1]).unwrap();
        assert_eq!(status(Coding::Gzip.unpack(&zeros, usize::MAX)), Err(413), "whatever the topic takes");
    }

    #[test]
    fn a_frame_of_zstd_that_wants_a_large_window_is_refused() {
        // Magic, a descriptor without a size, and a window of 2^31 bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        assert_eq!(status(Coding::Zstd.unpack(&frame, 1 << 20)), Err(400));
    }

    #[test]
    fn one_coding_is_known_or_none() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-encoding", HeaderValue::from_str(value).unwrap());
            Coding::of(&headers).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(Coding::of(&HeaderMap::new()), Ok(None));
        for (value, expected) in [
            ("identity", Ok(None)),
            ("GZIP", Ok(Some(Coding::Gzip))),
            ("br", Ok(Some(Coding::Brotli))),
            ("zstd", Ok(Some(Coding::Zstd))),
            ("deflate", Err(415)),
            ("gzip, gzip", Err(415)),
            ("dcz", Err(415)),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
    }

    fn answered(asked: &[(&'static str, &str)], kind: &'static str, length: usize) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        for (name, value) in asked {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let response = Response::builder().header("content-type", kind).header("etag", "\"a\"");
        let mut response = response.body(Bytes::from("x".repeat(length))).unwrap();
        pack(&headers, &mut response);
        response
    }

    #[test]
    fn an_answer_is_packed_as_the_client_likes_best() {
        for (accepts, expected) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("gzip")),
            ("zstd;q=0.5, gzip", Some("gzip")),
            ("zstd;q=0, *", Some("gzip")),
            ("*;q=0.1", Some("zstd")),
            ("br", None),
            ("identity", None),
            ("gzip;q=0", None),
            ("gzip;q=x", None),
            ("", None),
        ] {
            let response = answered(&[("accept-encoding", accepts)], "application/json; charset=utf-8", 5000);
            let told = response.headers().get("content-encoding").map(|value| value.to_str().unwrap());
            assert_eq!(told, expected, "{accepts}");
            assert_eq!(response.headers()["vary"], "Accept-Encoding");
            let coding = match told {
                Some("zstd") => Coding::Zstd,
                Some(_) => Coding::Gzip,
                None => continue,
            };
            assert_eq!(coding.unpack(response.body(), 5000).unwrap().len(), 5000);
            assert_eq!(response.headers()["etag"], "W/\"a\"");
        }
    }

    #[test]
    fn what_is_short_or_no_text_or_asked_for_by_a_cookie_is_not() {
        let gzip = ("accept-encoding", "gzip");
        for (asked, kind, length) in [
            (&[gzip][..], "application/json", 1023),
            (&[gzip], "application/octet-stream", 5000),
            (&[gzip], "image/png", 5000),
            (&[gzip, ("cookie", "a=b")], "application/json", 5000),
        ] {
            let response = answered(asked, kind, length);
            assert_eq!(
                (response.body().len(), &response.headers()["etag"]),
                (length, &HeaderValue::from_static("\"a\""))
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..40) {
            for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
                let _ = coding.unpack(&bytes, 1000);
                let mut broken = coding.pack(b"hello hello hello").unwrap();
                if let (Some(byte), Some(other)) = (broken.get_mut(at), bytes.first()) {
                    *byte = *other;
                }
                let _ = coding.unpack(&broken, 1000);
            }
        }
    }
}
