//! The endpoint's answers, byte by byte: what SDKs hide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::harness::{ChildEndpoint, Endpoint};
use crate::raw::{call, exchange};

#[tokio::test]
async fn ranges_and_conditions() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    let put = call("PUT", "/bucket/r").body("0123456789").header("content-type", "text/plain").send(at).await;
    assert_eq!(put.status, 200);
    let etag = put.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", hex::encode(<md5::Md5 as md5::Digest>::digest("0123456789"))));

    let get = |range: &str| call("GET", "/bucket/r").header("range", range).send(at);
    for (range, content_range, body) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-99", "bytes 0-9/10", "0123456789"),
        ("bytes=9-500", "bytes 9-9/10", "9"),
    ] {
        let answer = get(range).await;
        assert_eq!((answer.status, answer.header("content-range")), (206, content_range), "{range}");
        assert_eq!(answer.text(), body);
    }
    for range in ["bytes=10-", "bytes=-0", "bytes=11-12"] {
        let answer = get(range).await;
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */10"), "{range}");
        assert_eq!(answer.elements("Code"), ["InvalidRange"]);
    }

    let unchanged = call("GET", "/bucket/r").header("if-none-match", &format!("\"other\", {etag}")).send(at).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), etag);
    let modified = put_time(at).await;
    let unchanged = call("HEAD", "/bucket/r").header("if-modified-since", &modified).send(at).await;
    assert_eq!(unchanged.status, 304);
    let changed = call("GET", "/bucket/r").header("if-match", "\"other\"").send(at).await;
    assert_eq!((changed.status, changed.elements("Code")), (412, vec!["PreconditionFailed".to_owned()]));
    let weak = call("GET", "/bucket/r").header("if-match", &format!("W/{etag}")).send(at).await;
    assert_eq!(weak.status, 412, "a weak tag never matches strongly");
}

async fn put_time(at: std::net::SocketAddr) -> String {
    call("HEAD", "/bucket/r").send(at).await.header("last-modified").to_owned()
}

#[tokio::test]
async fn stored_bytes_never_run_in_a_browser() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    for (kind, sandboxed) in [
        ("text/html; charset=utf-8", true),
        ("image/svg+xml", true),
        ("application/xhtml+xml", true),
        ("text/xml", true),
        ("application/pdf", true),
        ("TEXT/HTML", true),
        ("text/plain", false),
        ("application/gzip", false),
    ] {
        call("PUT", "/bucket/page").body("<script>").header("content-type", kind).send(at).await;
        let got = call("GET", "/bucket/page").send(at).await;
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("content-security-policy"), if sandboxed { "sandbox" } else { "" }, "{kind}");
    }
    let overridden = call("GET", "/bucket/page").query("response-content-type", "text/html").send(at).await;
    assert_eq!(overridden.header("content-security-policy"), "sandbox");
    let error = call("GET", "/bucket/absent").send(at).await;
    assert_eq!((error.status, error.header("x-content-type-options")), (404, "nosniff"));
}

#[tokio::test]
async fn only_the_key_opens() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    call("PUT", "/bucket/secret").body("x").send(at).await;
    let unsigned = exchange(at, b"GET /bucket/secret HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(unsigned.status, 403);
    let forged = call("GET", "/bucket/secret").secret("another").send(at).await;
    assert_eq!((forged.status, forged.elements("Code")), (403, vec!["SignatureDoesNotMatch".to_owned()]));
    // The body is not the one that was signed.
    let hash = hex::encode(Sha256::digest("right"));
    let swapped = call("PUT", "/bucket/swapped").payload_hash(&hash).body("wrong").send(at).await;
    assert_eq!((swapped.status, swapped.elements("Code")), (400, vec!["XAmzContentSHA256Mismatch".to_owned()]));
    assert_eq!(call("HEAD", "/bucket/swapped").send(at).await.status, 404);
    let kept = call("PUT", "/bucket/right").payload_hash(&hash).body("right").send(at).await;
    assert_eq!(kept.status, 200);
}

#[tokio::test]
async fn bad_requests_are_refused_and_the_server_serves_on() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    assert_eq!(exchange(at, b"NONSENSE\r\n\r\n").await.status, 400);
    let endless_header = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 1 << 20], b"\r\n\r\n"].concat();
    assert_eq!(exchange(at, &endless_header).await.status, 431);
    let xml = call("POST", "/bucket").query("delete", "").body("<Delete><Object>").send(at).await;
    assert_eq!(xml.status, 400, "{}", xml.text());
    let too_much_xml = call("POST", "/bucket").query("delete", "").header("content-length", &(9 << 20).to_string());
    assert_eq!(too_much_xml.body("x").send(at).await.elements("Code"), ["MaxMessageLengthExceeded"]);
    let long_key = call("PUT", &format!("/bucket/{}", "k".repeat(1025))).body("x").send(at).await;
    assert_eq!(long_key.elements("Code"), ["KeyTooLongError"]);
    let much_metadata = call("PUT", "/bucket/m").header("x-amz-meta-a", &"v".repeat(2100)).body("x").send(at).await;
    assert_eq!(much_metadata.elements("Code"), ["MetadataTooLarge"]);
    let huge = call("PUT", "/bucket/h").header("content-length", &(6u64 << 30).to_string()).body("x").send(at).await;
    assert_eq!(huge.elements("Code"), ["EntityTooLarge"]);
    let token = call("GET", "/bucket").query("list-type", "2").query("continuation-token", "?").send(at).await;
    assert_eq!(token.elements("Code"), ["InvalidArgument"]);
    let missing = call("PUT", "/no-such-bucket/k").body("x").send(at).await;
    assert_eq!((missing.status, missing.elements("Code")), (404, vec!["NoSuchBucket".to_owned()]));
    let unknown = call("GET", "/bucket").query("versioning", "").send(at).await;
    assert_eq!(unknown.status, 501);
    assert_eq!(call("GET", "/bucket").send(at).await.status, 200);
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    let whole = call("PUT", "/bucket/broken").body(vec![7; 3 << 20]).bytes(at);
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.write_all(&whole[..2 << 20]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let blobs = endpoint.folder.path().join("blobs");
    let files = || {
        let shards = std::fs::read_dir(&blobs).unwrap();
        shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if files() == 0 {
            break;
        }
    }
    assert_eq!(files(), 0, "the unfinished blob is removed");
    assert_eq!(call("HEAD", "/bucket/broken").send(at).await.status, 404);
}

fn chunked(bytes: &[u8], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in bytes.chunks(70_000) {
        body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    body.extend(format!("0\r\n{trailer}\r\n\r\n").into_bytes());
    body
}

#[tokio::test]
async fn checksums_in_trailers_are_verified() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    for size in [0usize, 10, 300_000] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let sum = BASE64.encode(Sha256::digest(&bytes));
        let put = |trailer: String| {
            call("PUT", "/bucket/trailed")
                .payload_hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                .header("content-encoding", "aws-chunked")
                .header("x-amz-decoded-content-length", &size.to_string())
                .header("x-amz-trailer", "x-amz-checksum-sha256")
                .body(chunked(&bytes, &trailer))
                .send(at)
        };
        let wrong = put(format!("x-amz-checksum-sha256:{}", BASE64.encode([1; 32]))).await;
        assert_eq!((wrong.status, wrong.elements("Code")), (400, vec!["BadDigest".to_owned()]), "{size}: {}", wrong.text());
        assert_eq!(call("HEAD", "/bucket/trailed").send(at).await.status, 404);
        let right = put(format!("x-amz-checksum-sha256:{sum}")).await;
        assert_eq!((right.status, right.header("x-amz-checksum-sha256")), (200, sum.as_str()), "{}", right.text());
        let got = call("GET", "/bucket/trailed").header("x-amz-checksum-mode", "ENABLED").send(at).await;
        assert_eq!((got.header("x-amz-checksum-sha256"), got.header("content-encoding")), (sum.as_str(), ""));
        assert!(got.body == bytes, "{size} bytes come back");
        call("DELETE", "/bucket/trailed").send(at).await;
    }
}

#[tokio::test]
async fn headers_come_back_as_they_were_sent() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    let sent = [
        ("content-type", "text/x-fastq"),
        ("content-language", "en"),
        ("content-disposition", "attachment; filename=\"a.fq\""),
        ("content-encoding", "gzip"),
        ("cache-control", "no-cache"),
        ("expires", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("x-amz-meta-sample", "K-12"),
        ("x-amz-meta-note", "=?UTF-8?B?w7xuw68=?="),
    ];
    let put = sent.iter().fold(call("PUT", "/bucket/h").body("x"), |call, (name, value)| call.header(name, value));
    assert_eq!(put.send(at).await.status, 200);
    let head = call("HEAD", "/bucket/h").send(at).await;
    for (name, value) in sent {
        assert_eq!(head.header(name), value);
    }
}

#[tokio::test]
async fn listings_page_by_key_and_by_prefix() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    for key in ["a/1", "a/2", "b", "c/d/1", "c/e", "z%C3%BC%20%2B"] {
        assert_eq!(call("PUT", &format!("/bucket/{key}")).body("x").send(at).await.status, 200);
    }
    let mut names = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let list = call("GET", "/bucket").query("list-type", "2").query("delimiter", "/").query("max-keys", "1");
        let list = token.iter().fold(list.query("encoding-type", "url"), |list, token| list.query("continuation-token", token));
        let page = list.send(at).await;
        names.extend(page.elements("Key"));
        names.extend(page.elements("CommonPrefixes").iter().map(|inner| inner.replace("<Prefix>", "").replace("</Prefix>", "")));
        token = page.elements("NextContinuationToken").pop();
        assert_eq!(page.elements("IsTruncated"), [token.is_some().to_string()]);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a/", "b", "c/", "z%C3%BC%20%2B"]);
    let first_version = call("GET", "/bucket").query("delimiter", "/").query("marker", "a/").send(at).await;
    assert_eq!(first_version.elements("Key"), ["b", "z\u{fc} +"]);
}

#[tokio::test]
async fn multipart_by_hand() {
    let endpoint = Endpoint::start().await;
    let at = endpoint.address;
    let begin = async || {
        let begun = call("POST", "/bucket/m").query("uploads", "").header("x-amz-meta-kind", "parts").send(at).await;
        begun.elements("UploadId").remove(0)
    };
    let part = async |upload: &str, number: u32, body: Vec<u8>| {
        let put = call("PUT", "/bucket/m").query("uploadId", upload).query("partNumber", &number.to_string());
        put.body(body).send(at).await.header("etag").to_owned()
    };
    let complete = |upload: &str, parts: &[(u32, &str)], condition: &[(&str, &str)]| {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let post = call("POST", "/bucket/m").query("uploadId", upload).body(body);
        condition.iter().fold(post, |post, (name, value)| post.header(name, value)).send(at)
    };
    let upload = begin().await;
    let (large, small) = (vec![1u8; 5 << 20], vec![2u8; 10]);
    let one = part(&upload, 1, large.clone()).await;
    part(&upload, 2, vec![9; 20_000]).await;
    let three = part(&upload, 3, small.clone()).await;
    let replaced = part(&upload, 3, small.clone()).await;
    assert_eq!(three, replaced);
    let done = complete(&upload, &[(1, &one), (3, &three)], &[("if-none-match", "*")]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let again = complete(&upload, &[(1, &one), (3, &three)], &[]).await;
    assert_eq!((again.status, again.elements("ETag")), (200, done.elements("ETag")));
    let got = call("GET", "/bucket/m").send(at).await;
    assert!(got.body == [large.clone(), small.clone()].concat());
    assert_eq!(got.header("x-amz-meta-kind"), "parts");
    let second = call("GET", "/bucket/m").query("partNumber", "2").send(at).await;
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, "2"));
    assert_eq!(second.body, small);
    let sum = call("HEAD", "/bucket/m").header("x-amz-checksum-mode", "ENABLED").send(at).await;
    assert_eq!(sum.header("x-amz-checksum-type"), "FULL_OBJECT");
    let mut whole = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    whole.update(&[large, small].concat());
    assert_eq!(sum.header("x-amz-checksum-crc64nvme"), BASE64.encode(whole.finalize().to_be_bytes()));

    let taken = begin().await;
    let only = part(&taken, 1, vec![1]).await;
    let refused = complete(&taken, &[(1, &only)], &[("if-none-match", "*")]).await;
    assert_eq!(refused.status, 412);
    let aborted = call("DELETE", "/bucket/m").query("uploadId", &taken).send(at).await;
    assert_eq!(aborted.status, 204);
    let gone = complete(&taken, &[(1, &only)], &[]).await;
    assert_eq!(gone.elements("Code"), ["NoSuchUpload"]);
}

/// A body that claims one chunk of nearly 2 GiB must not be gathered in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_unsigned_chunk_needs_little_memory() {
    const SIZE: usize = 400 << 20;
    let folder = tempfile::tempdir().unwrap();
    let child = ChildEndpoint::start(folder.path(), &[]);
    let head = call("PUT", "/bucket/chunk")
        .payload_hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", &SIZE.to_string())
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("content-length", &(SIZE + 1000).to_string())
        .bytes(child.address);
    let mut stream = tokio::net::TcpStream::connect(child.address).await.unwrap();
    stream.write_all(&head).await.unwrap();
    stream.write_all(format!("{SIZE:x}\r\n").as_bytes()).await.unwrap();
    let piece = vec![5u8; 1 << 20];
    for _ in 0..SIZE >> 20 {
        stream.write_all(&piece).await.unwrap();
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 100 << 10, "peak memory {peak_kib} KiB");
    child.kill();
}
