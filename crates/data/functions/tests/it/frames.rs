use neardata_functions::frames::{Decoder, FrameError, FrameReader, MAX_HEADER, encode};
use neardata_functions::protocol::{FromWorker, ToWorker};
use proptest::prelude::*;
use serde_json::{Value, json};

/// All frames of `bytes`, fed in pieces of `piece`, until they end or make no sense.
fn decode(bytes: &[u8], piece: usize) -> (Vec<(Value, Vec<u8>)>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => match frame.header_as() {
                    Ok(header) => frames.push((header, frame.payload.to_vec())),
                    Err(error) => return (frames, Some(error)),
                },
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn frames() -> impl Strategy<Value = Vec<(Value, Vec<u8>)>> {
    let header = (".{0,30}", any::<u64>()).prop_map(|(text, number)| json!({"type": text, "lease": number}));
    prop::collection::vec((header, prop::collection::vec(any::<u8>(), 0..300)), 0..6)
}

fn bytes_of(frames: &[(Value, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|(header, payload)| encode(&mut bytes, header, payload).unwrap());
    bytes
}

proptest! {
    #[test]
    fn what_was_encoded_comes_out_however_it_is_cut(frames in frames(), piece in 1usize..400) {
        let (decoded, error) = decode(&bytes_of(&frames), piece);
        prop_assert!(error.is_none());
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn mutated_bytes_give_an_error_or_other_frames_but_no_panic_and_no_huge_allocation(
        frames in frames(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes_of(&frames);
        prop_assume!(!bytes.is_empty());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _whatever = decode(&bytes, 64);
        let mut reader = FrameReader::new(&bytes[..]);
        while let Ok(Some(frame)) = reader.next_frame() {
            let _typed = (frame.header_as::<FromWorker>(), frame.header_as::<ToWorker>());
        }
    }
}

#[test]
fn lengths_are_refused_before_anything_is_allocated() {
    let mut bytes = u32::try_from(MAX_HEADER + 1).unwrap().to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    let error = decode(&bytes, 8).1.unwrap();
    assert!(error.to_string().contains("header of 16777217 bytes"), "{error}");
    assert!(matches!(FrameReader::new(&[0, 0, 0, 9, 0, 0][..]).next_frame(), Err(FrameError::Truncated)));
    assert!(FrameReader::new(&[][..]).next_frame().unwrap().is_none());
}

#[test]
fn the_messages_look_as_the_page_says() {
    let text = |message: &ToWorker| serde_json::to_value(message).unwrap();
    assert_eq!(text(&ToWorker::Cancel { lease: 3 }), json!({"type": "cancel", "lease": 3}));
    assert_eq!(
        text(&ToWorker::Calls { function: "f".into(), calls: vec![(1, 5)] }),
        json!({"type": "calls", "function": "f", "calls": [[1, 5]]})
    );
    let started: FromWorker = serde_json::from_value(json!({"type": "started", "lease": 7})).unwrap();
    assert_eq!(started, FromWorker::Started { lease: 7 });
}
