//! Bodies that are compressed on their way.

use super::{Ground, TEXT, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `hello`, by Google's tool.
const BROTLI: &[u8] = b"\x0b\x02\x80hello\x03";

/// A frame of zstd with so many blocks of 128 KiB, each of one byte again and again.
fn bomb(blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    for block in 0..blocks {
        let head = (128 << 10) << 3 | 1 << 1 | u32::from(block + 1 == blocks);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(b'x');
    }
    frame
}

async fn post(ground: &Ground, coding: &str, body: &[u8]) -> String {
    let head = format!(
        "POST /s/rides/u42 HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n{TEXT}content-encoding: {coding}\r\n\r\n",
        body.len()
    );
    let mut stream = ground.connect().await;
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_is_what_it_is_unpacked() {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "")).await;
    for (coding, body, status) in [
        ("br", BROTLI.to_vec(), 204),
        ("identity", b"plain".to_vec(), 204),
        ("gzip", BROTLI.to_vec(), 400),
        ("deflate", BROTLI.to_vec(), 415),
        ("br, br", BROTLI.to_vec(), 415),
        ("zstd", bomb(1), 204),
        ("zstd", bomb(9), 413),
        ("zstd", bomb(200_000), 413),
    ] {
        let answer = post(&ground, coding, &body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{coding}: {answer}");
        let tells = answer.contains("accept-encoding: zstd, br, gzip\r\n");
        assert_eq!(tells, status == 415, "{answer}");
    }
    let read = ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(read.contains("\r\n\r\nhelloplainxxx") && read.len() > 128 << 10, "{}", &read[..200]);
    assert!(read.contains("Accept-Encoding"), "{}", &read[..500]);
}

#[tokio::test]
async fn an_answer_is_packed_for_those_who_accept_that() {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, &"x".repeat(10_000))).await;
    let mut stream = ground.connect().await;
    let asked = request("GET", "/s/rides/u42", "accept-encoding: gzip\r\n", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.len() < 2000 && text.contains("content-encoding: gzip\r\n"), "{text}");
    assert!(text.contains("etag: W/\""), "{text}");
}
