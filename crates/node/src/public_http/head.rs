//! The head of an answer that follows a stream, and its pieces, as HTTP/1.1 and HTTP/1.0 have them (RFC 9112).
//!
//! It decides nothing: what the headers are `gateway` says.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::{Response, Version};

/// Ends an answer in chunks.
pub(super) const END: &[u8] = b"0\r\n\r\n";

/// Whether an answer to such a request is in chunks; else the connection's end is its end.
pub(super) fn is_chunked(version: Version) -> bool {
    version == Version::HTTP_11
}

/// The head of an answer whose body follows.
pub(super) fn head(answer: &Response<()>, version: Version, is_kept: bool, now_ms: i64) -> BytesMut {
    let is_chunked = is_chunked(version);
    let mut out = lines(answer, if is_chunked { "HTTP/1.1" } else { "HTTP/1.0" });
    if is_chunked {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    }
    if !is_kept {
        out.put_slice(b"connection: close\r\n");
    }
    end_of_head(&mut out, now_ms);
    out
}

/// The head of an answer after which the connection is no more of HTTP.
pub(super) fn switch(answer: &Response<()>, now_ms: i64) -> BytesMut {
    let mut out = lines(answer, "HTTP/1.1");
    end_of_head(&mut out, now_ms);
    out
}

fn lines(answer: &Response<()>, version: &str) -> BytesMut {
    let mut out = BytesMut::with_capacity(1024);
    let status = answer.status();
    out.put_slice(
        format!("{version} {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).as_bytes(),
    );
    for (name, value) in answer.headers() {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out
}

fn end_of_head(out: &mut BytesMut, now_ms: i64) {
    out.put_slice(format!("date: {}\r\n\r\n", date(now_ms)).as_bytes());
}

/// A piece of the body; an empty one would end it.
pub(super) fn piece(out: &mut BytesMut, text: &[u8], is_chunked: bool) {
    if text.is_empty() {
        return;
    }
    out.reserve(text.len() + 16);
    if is_chunked {
        out.put_slice(format!("{:x}\r\n", text.len()).as_bytes());
    }
    out.put_slice(text);
    if is_chunked {
        out.put_slice(b"\r\n");
    }
}

/// The end of the body, with a last piece before it.
pub(super) fn end(text: &[u8], is_chunked: bool) -> Bytes {
    let mut out = BytesMut::new();
    piece(&mut out, text, is_chunked);
    if is_chunked {
        out.put_slice(END);
    }
    out.freeze()
}

/// A time as RFC 9110 has it, section 5.6.7.
fn date(now_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now_ms.max(0) / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS.get((days % 7) as usize).unwrap_or(&"Thu");
    // Years that begin in March end with the day that comes every fourth of them; eras have 400.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let month = MONTHS.get(month as usize).unwrap_or(&"Jan");
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(date(seconds * 1000), text);
        }
    }

    #[test]
    fn an_answer_is_framed_as_its_version_has_it() {
        let answer = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
        let mut new = head(&answer, Version::HTTP_11, true, 0);
        piece(&mut new, b"data:one\n\n", true);
        piece(&mut new, b"", true);
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
                    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\na\r\ndata:one\n\n\r\n";
        assert_eq!(new, text);
        assert_eq!(end(b"x", true), "1\r\nx\r\n0\r\n\r\n");
        let mut old = head(&answer, Version::HTTP_10, false, 0);
        piece(&mut old, b"data:one\n\n", false);
        let text = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
                    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\ndata:one\n\n";
        assert_eq!(old, text);
        assert_eq!(end(b"x", false), "x");
    }
}
