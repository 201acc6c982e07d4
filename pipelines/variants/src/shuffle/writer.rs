//! Writes a run: sorts records in memory, spills sorted pieces to scratch when there are too many, merges them at the end.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use libdeflater::Compressor;
use neardata_core::ByteRange;
use serde::{Deserialize, Serialize};

use super::block::{self, BLOCK, BlockError, BlockReader};
use super::merge::Merge;
use super::table::{BlockEntry, Table};
use crate::alignment::record::{Record, flag};

/// What a run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Records.
    pub records: u64,
    /// Reads, by their primary records.
    pub reads: u64,
    /// Reads that mapped.
    pub mapped: u64,
    /// Bytes of all records, uncompressed.
    pub raw: u64,
    /// Bytes of the run.
    pub bytes: u64,
}

impl RunSummary {
    /// The sum of two.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            reads: self.reads + other.reads,
            mapped: self.mapped + other.mapped,
            raw: self.raw + other.raw,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Collects encoded records in the aligner's order and writes them sorted, equal keys in that order.
pub struct RunWriter {
    scratch: PathBuf,
    budget: usize,
    buffer: Vec<u8>,
    /// Sort key and place in `buffer`; places grow, so sorting by both is stable.
    keys: Vec<(u64, u32)>,
    spills: Vec<PathBuf>,
    summary: RunSummary,
}

impl RunWriter {
    /// A writer that keeps about `budget` bytes of records in memory and spills below `scratch`.
    pub fn new(scratch: &Path, budget: usize) -> Self {
        let budget = budget.clamp(1 << 16, u32::MAX as usize - (1 << 28));
        Self {
            scratch: scratch.to_owned(),
            budget,
            buffer: Vec::new(),
            keys: Vec::new(),
            spills: Vec::new(),
            summary: RunSummary::default(),
        }
    }

    /// Takes one record as `append` writes it behind its length (see `Encoder::encode`).
    pub fn push<E: From<BlockError>>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let place = self.buffer.len();
        append(&mut self.buffer)?;
        let record = Record::new(&self.buffer[place + 4..]).ok_or(BlockError::Damaged("a record shorter than its fields"))?;
        let flags = record.flags();
        if flags & flag::NOT_PRIMARY == 0 {
            self.summary.reads += 1;
            self.summary.mapped += u64::from(flags & flag::UNMAPPED == 0);
        }
        self.summary.records += 1;
        self.summary.raw += (self.buffer.len() - place) as u64;
        self.keys.push((record.sort_key(), place as u32));
        if self.buffer.len() + self.keys.len() * 16 >= self.budget {
            self.spill().map_err(BlockError::from)?;
        }
        Ok(())
    }

    /// Writes the run to `path`; gives its table and what it holds.
    pub fn finish(mut self, path: &Path) -> Result<(Table, RunSummary), BlockError> {
        let mut output = Blocks::new(BufWriter::with_capacity(1 << 18, File::create(path)?), Some(block::compressor()));
        if self.spills.is_empty() {
            self.write_sorted(&mut output)?;
        } else {
            self.spill()?;
            self.buffer = Vec::new();
            let mut inputs = Vec::new();
            for spill in &self.spills {
                inputs.push(BlockReader::new(BufReader::with_capacity(1 << 18, File::open(spill)?)));
            }
            let mut merge = Merge::new(inputs)?;
            while let Some(record) = merge.next()? {
                output.push(record)?;
            }
        }
        let table = output.finish()?;
        for spill in &self.spills {
            std::fs::remove_file(spill)?;
        }
        self.summary.bytes = table.blocks.last().map_or(0, |block| block.bytes.end);
        Ok((table, self.summary))
    }

    fn spill(&mut self) -> io::Result<()> {
        let path = self.scratch.join(format!("spill-{:04}", self.spills.len()));
        let mut output = Blocks::new(BufWriter::with_capacity(1 << 18, File::create(&path)?), None);
        self.spills.push(path);
        self.write_sorted(&mut output)?;
        output.finish()?;
        self.buffer.clear();
        self.keys.clear();
        Ok(())
    }

    fn write_sorted<W: Write>(&mut self, output: &mut Blocks<W>) -> io::Result<()> {
        self.keys.sort_unstable();
        for (_, place) in &self.keys {
            let bytes = &self.buffer[*place as usize..];
            let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            if let Some(record) = Record::new(&bytes[4..4 + length]) {
                output.push(record)?;
            }
        }
        Ok(())
    }
}

/// Packs sorted records into blocks and notes each in the table.
struct Blocks<W> {
    output: W,
    compressor: Option<Compressor>,
    raw: Vec<u8>,
    packed: Vec<u8>,
    open: Option<BlockEntry>,
    written: u64,
    table: Table,
}

impl<W: Write> Blocks<W> {
    fn new(output: W, compressor: Option<Compressor>) -> Self {
        let raw = Vec::with_capacity(BLOCK + 4096);
        Self { output, compressor, raw, packed: Vec::new(), open: None, written: 0, table: Table::default() }
    }

    fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        let bytes = record.bytes();
        let (contig, position) = (record.contig(), record.position());
        let full = self.raw.len() + 4 + bytes.len() > BLOCK;
        if self.open.is_some_and(|open| open.contig != contig || full) {
            self.close()?;
        }
        self.raw.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.raw.extend_from_slice(bytes);
        let first =
            BlockEntry { contig, first: position, last: position, end: 0, records: 0, raw: 0, bytes: ByteRange::new(0, 0) };
        let open = self.open.get_or_insert(first);
        open.records += 1;
        open.last = position;
        open.end = open.end.max(record.end());
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some(mut entry) = self.open.take() {
            self.packed.clear();
            block::push_block(&self.raw, self.compressor.as_mut(), &mut self.packed);
            self.output.write_all(&self.packed)?;
            entry.raw = self.raw.len() as u32;
            entry.bytes = ByteRange::new(self.written, self.written + self.packed.len() as u64);
            self.written = entry.bytes.end;
            self.table.blocks.push(entry);
            self.raw.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Table> {
        self.close()?;
        self.output.flush()?;
        Ok(self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alignment::sam::Encoder;
    use crate::reference::{Contig, Contigs};

    /// A run of `reads` made-up reads, sorted with `budget` bytes of memory: its records in order, and its table.
    fn run(reads: u32, budget: usize) -> (Vec<Vec<u8>>, Table) {
        let contig = |name: &str| Contig { name: name.into(), length: 100_000 };
        let contigs = Contigs::new(vec![contig("a"), contig("b")]).unwrap();
        let mut encoder = Encoder::new(&contigs);
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RunWriter::new(folder.path(), budget);
        for read in 0..reads {
            let place = read.wrapping_mul(2_654_435_761) >> 8;
            let line = match place % 10 {
                0 => format!("r{read}\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII"),
                n => format!(
                    "r{read}\t{}\t{}\t{}\t60\t4M\t*\t0\t0\tACGT\tIIII",
                    (n & 1) * 16,
                    ["a", "b"][n as usize % 2],
                    1 + place % 997
                ),
            };
            let pushed: Result<(), BlockError> =
                writer.push(|out| encoder.encode(line.as_bytes(), out).map_err(|_| BlockError::Damaged("test")));
            pushed.unwrap();
        }
        let path = folder.path().join("run");
        let (table, summary) = writer.finish(&path).unwrap();
        assert_eq!(table.records(), summary.records);
        let mut merge = Merge::new(vec![BlockReader::new(File::open(path).unwrap())]).unwrap();
        let mut records = Vec::new();
        while let Some(record) = merge.next().unwrap() {
            records.push(record.bytes().to_vec());
        }
        (records, table)
    }

    #[test]
    fn spilling_changes_nothing_and_equal_keys_keep_their_order() {
        let (in_memory, table) = run(5000, usize::MAX);
        let (spilled, spilled_table) = run(5000, 1 << 16);
        assert_eq!(in_memory.len(), 5000);
        assert_eq!((in_memory, table), (spilled.clone(), spilled_table));
        let keys: Vec<_> = spilled.iter().map(|bytes| Record::new(bytes).unwrap().sort_key()).collect();
        assert!(keys.is_sorted());
        let number =
            |bytes: &Vec<u8>| -> u32 { String::from_utf8_lossy(&bytes[33..32 + bytes[8] as usize - 1]).parse().unwrap() };
        assert!(
            spilled.windows(2).zip(keys.windows(2)).all(|(pair, keys)| keys[0] < keys[1] || number(&pair[0]) < number(&pair[1]))
        );
    }

    #[test]
    fn the_table_finds_every_record_of_a_stretch() {
        let (_, table) = run(5000, usize::MAX);
        assert_eq!(Table::from_bytes(&table.to_bytes()).unwrap(), table);
        let whole = table.range((0, 0), (1, i32::MAX));
        assert_eq!(whole.start, 0);
        assert_eq!(whole.end, table.unplaced().start);
        let part = table.range((1, 500), (1, 501));
        let inside = |block: &&BlockEntry| block.contig == 1 && block.first < 501 && block.end > 500;
        assert!(table.blocks.iter().filter(inside).all(|block| part.start <= block.bytes.start && block.bytes.end <= part.end));
        assert!(part.len() < whole.len());
        assert!(table.range((1, 5000), (1, 6000)).is_empty());
    }
}
