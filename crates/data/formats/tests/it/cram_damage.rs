//! Damaged CRAM whose checksums are right, so that what decodes its blocks sees the damage: errors or answers, nothing else.

use neardata_core::ObjectUri;
use neardata_formats::{Cut, Partition};

use crate::cram_made::{Dice, Made};
use crate::cram_records::Lab;

/// Places of the containers of a file, and of the blocks in each: begin of the header, of the content, and of the checksum.
struct Layout {
    blocks: Vec<[usize; 3]>,
}

fn itf8(bytes: &[u8], at: &mut usize) -> i64 {
    let first = bytes[*at];
    let more = first.leading_ones().min(4) as usize;
    let mut value = i64::from(first & (0xff_u32 >> (more + 1)) as u8);
    for byte in &bytes[*at + 1..=*at + more] {
        value = value << 8 | i64::from(*byte);
    }
    *at += 1 + more;
    value
}

impl Layout {
    fn of(bytes: &[u8]) -> Self {
        let mut blocks = Vec::new();
        let mut at = 26;
        while at < bytes.len() {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let mut place = at + 4;
            for _ in 0..4 {
                itf8(bytes, &mut place);
            }
            for _ in 0..2 {
                place += 1 + bytes[place].leading_ones() as usize;
            }
            itf8(bytes, &mut place);
            for _ in 0..itf8(bytes, &mut place) {
                itf8(bytes, &mut place);
            }
            place += 4;
            let end = place + length;
            let first = blocks.is_empty();
            while place < end {
                let begin = place;
                place += 2;
                itf8(bytes, &mut place);
                let stored = itf8(bytes, &mut place) as usize;
                itf8(bytes, &mut place);
                // The header of the file is another matter, and may be padded.
                if !first || blocks.is_empty() {
                    blocks.push([begin, place, place + stored]);
                }
                place += stored + 4;
            }
            at = end;
        }
        blocks.remove(0);
        Self { blocks }
    }
}

/// Everything that can be done with an object.
fn try_all(lab: &Lab, reference: &ObjectUri) -> Vec<String> {
    let reference = Some(reference.clone());
    let mut cuts = vec![Cut { reference: reference.clone(), ..Cut::by(Partition::Records(37)) }];
    for region in ["one:5000-7000", "c3"] {
        cuts.push(Cut { regions: vec![region.into()], reference: reference.clone(), ..Cut::default() });
    }
    let mut said = Vec::new();
    for cut in cuts {
        let slices = match lab.cut(&cut) {
            Ok(slices) => slices,
            Err(error) => {
                said.push(error.to_string());
                continue;
            }
        };
        for slice in slices.iter().take(4) {
            said.extend(lab.read(slice).err().map(|error| error.to_string()));
            let batches = lab.slicer.arrow(slice).map(|mut batches| batches.find_map(Result::err).map(|error| error.to_string()));
            said.extend(batches.unwrap_or_else(|error| Some(error.to_string())));
        }
    }
    said
}

#[test]
fn damage_behind_right_checksums_is_an_error_or_an_answer() {
    let made = Made::new(8, 60);
    let reference = format!("file://{}", made.path().join("ref.fa").display()).parse().unwrap();
    let options = [
        "level=0,seqs_per_slice=40",
        "level=0,multi_seq_per_slice=1,no_ref=1",
        "seqs_per_slice=60,embed_ref=1",
        "version=3.1,archive,seqs_per_slice=60",
        "version=3.1,small,seqs_per_slice=60",
        "version=3.1,use_arith=1,use_tok=1,use_fqz=1,seqs_per_slice=80",
        "use_bzip2=1,use_lzma=1,use_rans=0,seqs_per_slice=200",
    ];
    for (seed, options) in options.iter().enumerate() {
        let object = made.cram(options, "made.bam");
        let layout = Layout::of(&object);
        let lab = Lab::new(&format!("damage{seed}"));
        let mut dice = Dice(seed as u64);
        let mut wrong = 0;
        for _ in 0..crate::law::cases(60) {
            let mut bytes = object.clone();
            for _ in 0..=dice.roll(2) {
                let [begin, content, end] = layout.blocks[dice.roll(layout.blocks.len())];
                // Headers hold the counts; the first bytes of a content do too.
                let place = match dice.roll(4) {
                    0 => begin + dice.roll(content - begin),
                    1 => content + dice.roll(12.min(end - content)),
                    _ => content + dice.roll(end - content),
                };
                if place < end {
                    bytes[place] = match dice.roll(4) {
                        0 => [0, 0x7f, 0x80, 0xff][dice.roll(4)],
                        1 => bytes[place].wrapping_add(1),
                        _ => bytes[place] ^ 1 << dice.roll(8),
                    };
                }
                let checksum = crc32(&bytes[begin..end]);
                bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
            }
            lab.put("a.cram", bytes);
            let said = try_all(&lab, &reference);
            wrong += u32::from(!said.is_empty());
            for words in said {
                assert!(words.contains("CRAM") || words.contains("a.cram") || words.contains("ref.fa"), "{words}");
            }
        }
        assert!(wrong > 5, "{options}: {wrong}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}
