//! Aligns whole FASTQ files and writes a run: `align_file REF INDEX R1 R2 RUN [SAM]`. For measuring.
use neardata_variants::{alignment::*, reference, shuffle::*};
use std::fs::File;
use std::io::Write;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    if !std::path::Path::new(&args[2]).exists() {
        rammap::build_index(args[1].as_ref(), File::create(&args[2])?)?;
    }
    let t = std::time::Instant::now();
    let index = rammap::SharedIndex::load(args[2].as_ref())?;
    eprintln!("load {:?}", t.elapsed());
    let found = reference::normalise(&args[1], File::open(&args[1])?, std::io::sink())?;
    let open = |p: &str| -> Result<_, Box<dyn std::error::Error>> {
        Ok(fastq::FastqReader::new(p, 0, reference::decompressed(File::open(p)?)?))
    };
    let mut fragments = fastq::FragmentReader::new(fastq::Fragments::Paired(open(&args[3])?, open(&args[4])?));
    let mut aligner = rammap::Rammap::new(&index);
    let mut encoder = sam::Encoder::new(&found.contigs).with_read_group("s");
    let scratch = std::env::temp_dir();
    let mut run = RunWriter::new(&scratch, 192 << 20);
    let mut sam = args.get(6).map(|p| std::io::BufWriter::new(File::create(p).unwrap()));
    let mut skip = std::env::var("SKIP_ALIGN").is_ok();
    while let Some((read, mate)) = fragments.next()? {
        if skip {
            continue;
        }
        let lines = aligner.align(read, mate);
        if let Some(sam) = &mut sam {
            for line in lines.lines() {
                writeln!(sam, "{}", line.replacen("\tNM:i", "\tRG:Z:s\tNM:i", 1))?;
            }
        }
        if std::env::var_os("SKIP_ENCODE").is_some() {
            continue;
        }
        for line in lines.lines() {
            run.push(|out| encoder.encode(line.as_bytes(), out).map_err(|e| BlockError::Io(std::io::Error::other(e))))?;
        }
    }
    skip = !skip;
    let _ = skip;
    let (table, summary) = run.finish(args[5].as_ref())?;
    eprintln!("{summary:?} blocks {}", table.blocks.len());
    std::fs::write(format!("{}.table", args[5]), table.to_bytes())?;
    Ok(())
}
