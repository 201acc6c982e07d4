//! Reading from a plain web server, including one that breaks connections and one whose object changes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use neardata_core::{ByteRange, ObjectUri, ReadError};
use neardata_store::Stores;

/// Serves `body` by range; every third answer breaks off half-way, and after `changes_after` answers the tag moves.
fn serve(body: Arc<Vec<u8>>, changes_after: usize) -> ObjectUri {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = AtomicUsize::new(0);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let count = served.fetch_add(1, Ordering::SeqCst);
            let mut range = (0, body.len() - 1);
            for line in BufReader::new(connection.try_clone().unwrap()).lines() {
                let line = line.unwrap().to_ascii_lowercase();
                if let Some(text) = line.strip_prefix("range: bytes=") {
                    let (start, end) = text.split_once('-').unwrap();
                    range = (start.parse().unwrap(), end.parse::<usize>().unwrap().min(body.len() - 1));
                }
                if line.is_empty() {
                    break;
                }
            }
            let tag = if count >= changes_after { "\"second\"" } else { "\"first\"" };
            let piece = &body[range.0..=range.1];
            write!(
                connection,
                "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {}-{}/{}\r\netag: {tag}\r\nconnection: close\r\n\r\n",
                piece.len(),
                range.0,
                range.1,
                body.len()
            )
            .unwrap();
            let sent = if count % 3 == 1 { piece.len().div_ceil(2) } else { piece.len() };
            let _client_gone = connection.write_all(&piece[..sent]);
        }
    });
    format!("http://{address}/folder/object?token=a%2Fb").parse().unwrap()
}

#[test]
fn broken_bodies_are_resumed() {
    let body: Arc<Vec<u8>> = Arc::new((0..500_000_u32).map(|i| (i % 251) as u8).collect());
    let uri = serve(Arc::clone(&body), usize::MAX);
    let stores = Stores::from_env().unwrap();
    let object = stores.head(&uri).unwrap();
    assert_eq!(object.size, 500_000);
    assert_eq!(stores.open(&object).unwrap().read(ByteRange::new(10, 499_999)).unwrap(), &body[10..499_999]);
}

#[test]
fn a_changed_tag_is_an_error() {
    let uri = serve(Arc::new(vec![7; 1000]), 1);
    let stores = Stores::from_env().unwrap();
    let object = stores.head(&uri).unwrap();
    let result = stores.open(&object).unwrap().read(ByteRange::new(0, 1000));
    assert!(matches!(result, Err(ReadError::Changed { .. })), "{result:?}");
}

/// A server with ideas of its own: its answer says it begins one byte after what was asked for.
#[test]
fn another_range_than_asked_for_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (count, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines();
            lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
            // The first question, for the object's size, is answered honestly.
            let start = usize::from(count > 0);
            let answer = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-length: 1\r\ncontent-range: bytes {start}-{start}/1000\r\netag: \"a\"\r\nconnection: close\r\n\r\nx"
            );
            let _client_gone = connection.write_all(answer.as_bytes());
        }
    });
    let stores = Stores::from_env().unwrap();
    let object = stores.head(&format!("http://{address}/object").parse().unwrap()).unwrap();
    assert_eq!(object.size, 1000);
    let result = stores.open(&object).unwrap().read(ByteRange::new(0, 1)).unwrap_err().to_string();
    assert!(result.contains("another range"), "{result}");
}
