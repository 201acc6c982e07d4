//! A client that sends exactly what a test says: SigV4 by hand over one connection a request.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ACCESS_KEY, REGION, SECRET_KEY};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The texts of every `<name>` of an XML body, in order.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        text.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
    }
}

/// A request under construction.
pub(crate) struct Call {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
    payload_hash: String,
    body: Vec<u8>,
    secret: String,
}

/// `path` must need no escapes.
pub(crate) fn call(method: &'static str, path: &str) -> Call {
    Call {
        method,
        path: path.to_owned(),
        query: Vec::new(),
        headers: BTreeMap::new(),
        payload_hash: "UNSIGNED-PAYLOAD".to_owned(),
        body: Vec::new(),
        secret: SECRET_KEY.to_owned(),
    }
}

impl Call {
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The value of `x-amz-content-sha256`.
    pub(crate) fn payload_hash(mut self, hash: &str) -> Self {
        self.payload_hash = hash.to_owned();
        self
    }

    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secret = secret.to_owned();
        self
    }

    pub(crate) async fn send(self, address: SocketAddr) -> Answer {
        let request = self.bytes(address);
        exchange(address, &request).await
    }

    /// The signed request as it goes over the wire.
    pub(crate) fn bytes(mut self, address: SocketAddr) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let time = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap();
        let date = &time[..8];
        self.headers.insert("host".to_owned(), address.to_string());
        self.headers.insert("x-amz-date".to_owned(), time.clone());
        self.headers.insert("x-amz-content-sha256".to_owned(), self.payload_hash.clone());
        self.query.sort();
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        let query = query.join("&");
        let names: Vec<&str> = self.headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\n{}", self.method, self.path, self.payload_hash);
        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for word in [date, REGION, "s3", "aws4_request", &to_sign] {
            key = hmac(&key, word.as_bytes());
        }
        let credential = format!("{ACCESS_KEY}/{scope}");
        let signature = hex::encode(key);
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) };
        let mut head = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", self.method);
        head +=
            &format!("authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.headers.contains_key("content-length") {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.into_bytes(), self.body].concat()
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::digest([block.map(|byte| byte ^ 0x36).as_slice(), message].concat());
    Sha256::digest([block.map(|byte| byte ^ 0x5c).as_slice(), &inner].concat()).to_vec()
}

/// Sends bytes, reads the answer to its end.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it took everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer with a head");
    let head = String::from_utf8(answer[..split].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: answer[split + 4..].to_vec() }
}
