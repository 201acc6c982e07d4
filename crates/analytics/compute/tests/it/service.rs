//! The engine's service, over TCP and over a Unix socket.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use neardata_compute::client::{Client, ClientError};
use neardata_compute::conformance::{ProbeArguments, ProbesArguments};
use neardata_compute::service::{self, ServiceOptions};
use neardata_compute::{Engine, EventKind, JobState};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::support::{engine, probes, request, results};

const TOKEN: &str = "a-token-of-some-length";

async fn serve_tcp(engine: &Engine) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = service::router(engine.clone(), ServiceOptions::tcp(address, TOKEN));
    tokio::spawn(service::serve(listener, router, std::future::pending()));
    address
}

/// Sends a request as it is and gives the whole answer.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, headers: &[&str]) -> String {
    let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    headers.iter().for_each(|header| text.push_str(&format!("{header}\r\n")));
    text + "\r\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_is_refused_with_the_reason() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let address = serve_tcp(&engine).await;
    let host = format!("Host: {address}");
    let token = format!("Authorization: Bearer {TOKEN}");
    let protocol = "NearData-Protocol: 1";
    let cases: [(&str, Vec<&str>, &str, &str); 10] = [
        ("/healthz", vec![&host], "200", r#""status":"ok""#),
        ("/v1/jobs", vec![&host, &token, protocol], "200", r#""jobs":[]"#),
        ("/metrics", vec![&host, &token, protocol], "200", "neardata_jobs_running 0"),
        ("/v1/jobs", vec![&host, protocol], "401", "unauthorized"),
        ("/v1/jobs", vec![&host, "Authorization: Bearer a-token-of-some-lengtH", protocol], "401", "neardata env"),
        ("/v1/jobs", vec![&host, &token, "NearData-Protocol: 2"], "426", "speaks protocol 1, the client 2"),
        ("/healthz", vec!["Host: evil.example"], "403", "foreign_host"),
        ("/v1/jobs", vec![&host, &token, protocol, "Origin: http://evil.example"], "403", "foreign_origin"),
        ("/v1/jobs/none", vec![&host, &token, protocol], "404", "no_such_job"),
        ("/nothing", vec![&host], "404", "no_such_page"),
    ];
    for (path, headers, status, text) in cases {
        let answer = raw(address, &get(path, &headers)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(text), "{path} {headers:?}: {answer}");
    }
    let own_origin = format!("Origin: http://{address}");
    assert!(raw(address, &get("/healthz", &[&host, &own_origin])).await.starts_with("HTTP/1.1 200"));

    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n{host}\r\n{token}\r\n{protocol}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    for (body, status, text) in [
        ("{", "400", "malformed"),
        (r#"{"v":2,"pipeline":"probes"}"#, "400", "version 2"),
        (r#"{"v":1,"pipeline":"other"}"#, "404", "there are: probes"),
    ] {
        let answer = raw(address, &post(body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(text), "{body}: {answer}");
    }
    let huge = post("x").replace("Content-Length: 1\r\n", "Content-Length: 99999999999\r\n");
    assert!(raw(address, &huge).await.starts_with("HTTP/1.1 413"));
    // After all that it still serves.
    assert!(raw(address, &get("/healthz", &[&host])).await.starts_with("HTTP/1.1 200"));
}

async fn submit_follow_and_look(client: &Client) {
    let wanted =
        ProbesArguments { probes: probes(3, ProbeArguments { sleep_ms: 30, ..Default::default() }), ..Default::default() };
    let id = client.submit(&request(&wanted)).await.unwrap();
    let events: Vec<_> = client.events(&id, 0).map(Result::unwrap).collect().await;
    let numbered: Vec<_> =
        events.iter().filter(|event| !matches!(event.kind, EventKind::Progress { .. })).map(|event| event.seq).collect();
    assert_eq!(numbered, (1..=numbered.len() as u64).collect::<Vec<_>>());
    assert!(matches!(events.last().unwrap().kind, EventKind::Job { state: JobState::Done, .. }));
    let later: Vec<_> = client.events(&id, 5).map(Result::unwrap).collect().await;
    assert_eq!(later.first().unwrap().seq, 5);
    let view = client.job(&id).await.unwrap();
    assert_eq!(results(&view).len(), 3);
    assert_eq!(client.jobs().await.unwrap()[0], view.summary);
    client.logs(&id).await.unwrap();

    let slow =
        ProbesArguments { probes: probes(1, ProbeArguments { sleep_ms: 60_000, ..Default::default() }), ..Default::default() };
    let id = client.submit(&request(&slow)).await.unwrap();
    client.cancel(&id).await.unwrap();
    let last = client.events(&id, 0).map(Result::unwrap).collect::<Vec<_>>().await.pop().unwrap();
    assert!(matches!(last.kind, EventKind::Job { state: JobState::Cancelled, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_works_over_tcp_and_over_a_unix_socket() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let address = serve_tcp(&engine).await;
    submit_follow_and_look(&Client::tcp(&format!("http://{address}"), Some(TOKEN)).unwrap()).await;

    let socket = folder.path().join("api.sock");
    let router = service::router(engine.clone(), ServiceOptions::private());
    tokio::spawn(service::serve_unix(UnixListener::bind(&socket).unwrap(), router, std::future::pending()));
    submit_follow_and_look(&Client::unix(&socket)).await;

    let refused = Client::tcp(&format!("http://{address}"), Some("wrong")).unwrap().jobs().await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { status: 401, .. }), "{refused}");
    let nobody = Client::tcp("http://127.0.0.1:1", None).unwrap().jobs().await.unwrap_err();
    assert!(nobody.to_string().contains("neardata up"), "{nobody}");
    assert!(Client::tcp("ftp://somewhere", None).is_err());
}

/// Passes bytes to the service, but hangs up after the first thousand of every second connection.
async fn flaky_proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                if connection % 2 == 0 {
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
                let (mut from_client, mut to_client) = client.split();
                let (from_server, mut to_server) = server.split();
                let mut some = from_server.take(1000);
                let forward = tokio::io::copy(&mut from_client, &mut to_server);
                tokio::select! { _ = forward => {}, _ = tokio::io::copy(&mut some, &mut to_client) => {} }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_event_stream_is_taken_up_where_it_broke() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let address = serve_tcp(&engine).await;
    let proxy = flaky_proxy(address).await;
    let client = Client::tcp(&format!("http://{proxy}"), Some(TOKEN)).unwrap();
    let wanted =
        ProbesArguments { probes: probes(20, ProbeArguments { sleep_ms: 10, ..Default::default() }), ..Default::default() };
    let id = client.submit(&request(&wanted)).await.unwrap();
    let events: Vec<_> = client.events(&id, 0).map(Result::unwrap).collect().await;
    let numbered: Vec<_> =
        events.iter().filter(|event| !matches!(event.kind, EventKind::Progress { .. })).map(|event| event.seq).collect();
    assert_eq!(numbered, (1..=numbered.len() as u64).collect::<Vec<_>>());
    assert!(numbered.len() > 60);
}
