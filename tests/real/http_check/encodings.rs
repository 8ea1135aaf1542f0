//! Bodies that come encoded although nobody asked for it: what they hold is judged, not how it is wrapped.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::server::{Reply, Server, Then};
use super::{assert_no_answer, assert_unhealthy, measure};
use dr_exporter::domain::observation::Health;

const TEXT: &[u8] = b"{\"status\": \"UP\"}";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

/// `printf '{"status": "UP"}' | brotli`
const BROTLI: &[u8] = b"\x8b\x07\x80\x7b\x22\x73\x74\x61\x74\x75\x73\x22\x3a\x20\x22\x55\x50\x22\x7d\x03";

async fn health_of(encoding: &str, body: Vec<u8>, expected: &str) -> Health {
    let headers = format!("content-encoding: {encoding}\r\n");
    let server = Server::start(move |_| Reply::new(200, &headers, &body)).await;
    measure(&format!("url: \"{}\", expect_body: '{expected}'", server.url("/"))).await
}

#[tokio::test]
async fn what_they_hold_is_judged() {
    for (encoding, body) in [
        ("gzip", gzip(TEXT)),
        ("x-gzip", gzip(TEXT)),
        ("GZIP", gzip(TEXT)),
        ("gzip", [gzip(&TEXT[..5]), gzip(&TEXT[5..])].concat()),
        ("gzip", [gzip(TEXT), b"\0\0\0\0".to_vec()].concat()),
        ("deflate", zlib(TEXT)),
        ("deflate", deflate(TEXT)),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd(TEXT)),
        ("zstd", [zstd(&TEXT[..5]), zstd(&TEXT[5..])].concat()),
        ("zstd", [b"\x53\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(TEXT)].concat()),
        ("zstd", [zstd(TEXT), b"\0\0\0\0".to_vec()].concat()),
        ("deflate, gzip", gzip(&zlib(TEXT))),
        ("identity, gzip", gzip(TEXT)),
        // What is not encoded at all, whatever is said.
        ("identity", TEXT.to_vec()),
        ("utf-8", TEXT.to_vec()),
        ("", TEXT.to_vec()),
        ("gzip", TEXT.to_vec()),
        ("br", TEXT.to_vec()),
        ("aws-chunked", TEXT.to_vec()),
    ] {
        assert_eq!(health_of(encoding, body, "^\\{\"status\": \"UP\"\\}$").await, Health::Healthy, "{encoding}");
    }
    for (encoding, body) in
        [("gzip", gzip(TEXT)), ("br", BROTLI.to_vec()), ("zstd", zstd(TEXT)), ("deflate", zlib(TEXT))]
    {
        let words = format!("the body (16 bytes, decoded from {encoding}) does not match \"DOWN\"");
        assert_unhealthy(&health_of(encoding, body, "DOWN").await, "unexpected_body", &[&words]);
    }
}

#[tokio::test]
async fn encoded_for_the_way() {
    let body = gzip(TEXT);
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{:x}\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer.extend(b"\r\n0\r\n\r\n");
    let server = Server::start(move |_| Reply::raw(answer.clone(), Then::Serve)).await;
    assert_eq!(measure(&format!("url: \"{}\", expect_body: UP", server.url("/"))).await, Health::Healthy);
}

#[tokio::test]
async fn what_cannot_be_decoded() {
    let mut half = gzip(&TEXT.repeat(50));
    half.truncate(half.len() - 9);
    let words = "the header says that the body is encoded as gzip, but it cannot be decoded";
    assert_unhealthy(&health_of("gzip", half, ".").await, "unexpected_body", &[words]);
    assert_unhealthy(&health_of("gzip", TEXT.to_vec(), "DOWN").await, "unexpected_body", &[words]);
    let mut half = [zstd(TEXT), zstd(&TEXT.repeat(50))].concat();
    half.truncate(half.len() - 9);
    let words = "the header says that the body is encoded as zstd, but it cannot be decoded";
    assert_unhealthy(&health_of("zstd", half, ".").await, "unexpected_body", &[words]);
    // One that is not known here says nothing about what the body holds.
    let unknown = health_of("compress", b"\x1f\x9d\x90".to_vec(), "UP").await;
    assert_no_answer(&unknown, "unknown_encoding", &["the body is encoded as compress, which is not supported"]);
    // A frame with a window of 256 MiB.
    let wide = [b"\x28\xb5\x2f\xfd\x00\x90".as_slice(), &[0; 20]].concat();
    assert_no_answer(&health_of("zstd", wide, "UP").await, "unknown_encoding", &["a very large window"]);
    let layers = "gzip, gzip, gzip, gzip, gzip, gzip";
    assert_no_answer(&health_of(layers, gzip(TEXT), "UP").await, "unknown_encoding", &[]);
    // Nothing that is encoded is nothing.
    assert_unhealthy(&health_of("gzip", Vec::new(), "UP").await, "unexpected_body", &["the body (0 bytes"]);
}

/// A body that nothing is expected of is not looked into.
#[tokio::test]
async fn without_a_pattern_nothing_is_decoded() {
    let server = Server::start(|_| Reply::new(200, "content-encoding: gzip\r\n", "no gzip")).await;
    assert_eq!(measure(&format!("url: \"{}\"", server.url("/"))).await, Health::Healthy);
}

#[tokio::test]
async fn a_bomb_is_decoded_to_the_first_mib() {
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        std::io::copy(&mut std::io::repeat(b'.').take(200 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let words = "the first MiB of the body (1048576 bytes, decoded from gzip) does not match";
    assert_unhealthy(&health_of("gzip", bomb.clone(), "UP").await, "unexpected_body", &[words]);
    assert_eq!(health_of("gzip", bomb, "^\\.\\.").await, Health::Healthy);
}

/// A body of very many frames, each of one byte, is read to its end all the same.
#[tokio::test]
async fn many_frames() {
    let body = [zstd(b".").repeat(30_000), zstd(TEXT)].concat();
    assert_eq!(health_of("zstd", body, "UP").await, Health::Healthy);
}
