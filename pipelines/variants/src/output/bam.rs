//! Sorted BAM: pieces a region each, written so that the file made of them is the same however the genome was cut.

use std::io::{self, Write};

use super::bgzf::BgzfWriter;
use super::binning::Binning;
use crate::alignment::record::{Record, flag};
use crate::reference::Contigs;
use crate::regions::TILE;

/// Level of libdeflate for BAM.
const LEVEL: i32 = 1;

/// The header text of the alignments of one sample.
pub fn header_text(contigs: &Contigs, sample: &str, sorted: bool) -> String {
    let mut text = format!("@HD\tVN:1.6\tSO:{}\n", if sorted { "coordinate" } else { "unsorted" });
    for contig in contigs.iter() {
        text.push_str(&format!("@SQ\tSN:{}\tLN:{}\n", contig.name, contig.length));
    }
    text.push_str(&read_group(sample));
    text.push('\n');
    text
}

/// The `@RG` line of a sample, as aligners take it.
pub fn read_group(sample: &str) -> String {
    format!("@RG\tID:{sample}\tSM:{sample}\tPL:ILLUMINA")
}

/// The bytes before the first record of a BAM file.
pub fn header_bytes(contigs: &Contigs, sample: &str) -> Vec<u8> {
    let text = header_text(contigs, sample, true);
    let mut out = b"BAM\x01".to_vec();
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&(contigs.len() as u32).to_le_bytes());
    for contig in contigs.iter() {
        out.extend_from_slice(&(contig.name.len() as u32 + 1).to_le_bytes());
        out.extend_from_slice(contig.name.as_bytes());
        out.push(0);
        out.extend_from_slice(&(contig.length as u32).to_le_bytes());
    }
    out
}

/// The header as a BGZF piece.
pub fn header_piece(contigs: &Contigs, sample: &str) -> io::Result<Vec<u8>> {
    let mut writer = BgzfWriter::new(Vec::new(), LEVEL);
    writer.write_whole(&header_bytes(contigs, sample))?;
    Ok(writer.finish_piece()?.0)
}

/// Writes the records of one region. A block ends where a tile of the genome does, and regions are made of whole tiles: hence the
/// pieces of any regions, one behind the other, are the same bytes.
pub struct PieceWriter<W> {
    output: BgzfWriter<W>,
    index: Binning,
    tile: (i32, i32),
    /// The record written last, which ends where the next one begins.
    open: Option<(u32, i32, i32, u64, bool)>,
}

impl<W: Write> PieceWriter<W> {
    /// A writer of one piece.
    pub fn new(output: W) -> Self {
        Self { output: BgzfWriter::new(output, LEVEL), index: Binning::default(), tile: (-1, -1), open: None }
    }

    /// Appends a record.
    pub fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        let bytes = record.bytes();
        let tile = (record.contig(), record.position() / TILE as i32);
        if tile != self.tile {
            self.output.close_block()?;
            self.tile = tile;
        }
        self.output.make_room(bytes.len() + 4)?;
        self.close_record();
        let from = self.output.virtual_offset();
        match u32::try_from(record.contig()) {
            Ok(contig) => {
                let mapped = record.flags() & flag::UNMAPPED == 0;
                self.open = Some((contig, record.position(), record.end(), from, mapped));
            }
            Err(_) => self.index.add_unplaced(),
        }
        self.output.write_whole(&[&(bytes.len() as u32).to_le_bytes(), bytes].concat())
    }

    fn close_record(&mut self) {
        if let Some((contig, start, end, from, mapped)) = self.open.take() {
            self.index.add(contig, start, end, from, self.output.virtual_offset(), mapped);
        }
    }

    /// Ends the piece; gives the output, its length and its index.
    pub fn finish(mut self) -> io::Result<(W, u64, Binning)> {
        self.output.close_block()?;
        self.close_record();
        let (output, length) = self.output.finish_piece()?;
        Ok((output, length, self.index))
    }
}
