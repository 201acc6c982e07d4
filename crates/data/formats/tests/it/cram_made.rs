//! Alignments made at random, and what samtools makes of them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
    }

    fn bases(&mut self, length: usize) -> String {
        (0..length).map(|_| b"ACGT"[self.roll(4)] as char).collect()
    }
}

/// A folder with a reference and alignments, removed when it goes.
pub(crate) struct Made {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) names: Vec<String>,
}

/// A program's output; its input is `input`.
pub(crate) fn output(program: &str, arguments: &[&str], folder: &Path, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("REF_PATH", "/nowhere").env("REF_CACHE", "/nowhere");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// Part of an alignment: what the operations of its CIGAR read.
struct Read {
    cigar: String,
    bases: String,
    span: usize,
}

impl Made {
    /// Pairs over references long and short, with everything that alignments can have.
    pub(crate) fn new(seed: u64, pairs: usize) -> Self {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut references = vec![("one".to_owned(), dice.bases(20_000)), ("two".to_owned(), dice.bases(6_000))];
        for number in 0..12 {
            references.push((format!("c{number}"), dice.bases(700)));
        }
        references.push(("HLA:A*01:01".to_owned(), dice.bases(900)));
        references[0].1.replace_range(5_000..5_040, &"N".repeat(40));
        references[0].1.replace_range(7_000..7_004, "RYKM");
        let fasta: String = references.iter().map(|(name, bases)| format!(">{name} made\n{}\n", wrapped(bases))).collect();
        std::fs::write(folder.path().join("ref.fa"), fasta.to_lowercase().replace("hla:a*", "HLA:A*")).unwrap();
        let mut sam = "@HD\tVN:1.6\tSO:unsorted\n".to_owned();
        for (name, bases) in &references {
            writeln!(sam, "@SQ\tSN:{name}\tLN:{}", bases.len()).unwrap();
        }
        sam.push_str("@RG\tID:g1\tSM:s\n@RG\tID:g2\tSM:s\n");
        for number in 0..pairs {
            sam.push_str(&pair(&mut dice, &references, number));
        }
        std::fs::write(folder.path().join("made.sam"), sam).unwrap();
        let made = Self { folder, names: references.into_iter().map(|(name, _)| name).collect() };
        output("samtools", &["sort", "--no-PG", "-o", "made.bam", "made.sam"], made.path(), b"");
        made
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The alignments as CRAM of these options; with its index beside it.
    pub(crate) fn cram(&self, options: &str, input: &str) -> Vec<u8> {
        let format = if options.is_empty() { "cram".to_owned() } else { format!("cram,{options}") };
        output("samtools", &["view", "--no-PG", "-T", "ref.fa", "-O", &format, "-o", "a.cram", input], self.path(), b"");
        output("samtools", &["index", "a.cram"], self.path(), b"");
        std::fs::read(self.path().join("a.cram")).unwrap()
    }

    /// What samtools prints of a file, or of a region of it.
    pub(crate) fn view(&self, file: &str, region: &[&str]) -> Vec<String> {
        lines(&output("samtools", &[&["view", "-T", "ref.fa", file], region].concat(), self.path(), b""))
    }

    /// The same of the bytes of a file. It bears the name of the object, of which samtools makes names that are not stored.
    pub(crate) fn view_bytes(&self, bytes: &[u8]) -> Vec<String> {
        let folder: PathBuf = self.path().join("slice");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.cram"), bytes).unwrap();
        self.view("slice/a.cram", &[])
    }
}

fn wrapped(bases: &str) -> String {
    bases.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n")
}

fn read(dice: &mut Dice, reference: &str, start: usize) -> Read {
    let (mut cigar, mut bases, mut at) = (String::new(), String::new(), start);
    let mut operations: Vec<(char, usize)> = vec![('M', 20 + dice.roll(60))];
    match dice.roll(12) {
        0 => operations = vec![('S', 1 + dice.roll(9)), ('M', 30), ('S', 1 + dice.roll(4))],
        1 => operations = vec![('M', 15), ('I', 1 + dice.roll(5)), ('M', 20)],
        2 => operations = vec![('M', 15), ('D', 1 + dice.roll(9)), ('M', 20), ('I', 1), ('M', 5)],
        3 => operations = vec![('M', 15), ('N', 50 + dice.roll(200)), ('M', 20)],
        4 => operations = vec![('H', 5), ('M', 15), ('D', 90 + dice.roll(100)), ('M', 20), ('H', 2)],
        5 => operations = vec![('H', 1), ('S', 3), ('M', 12), ('I', 2), ('P', 1), ('I', 1), ('M', 12)],
        6 => operations = vec![('S', 2), ('I', 3), ('M', 30), ('D', 2), ('N', 30), ('M', 9)],
        _ => {}
    }
    for (operation, length) in operations {
        write!(cigar, "{length}{operation}").unwrap();
        match operation {
            'M' => {
                for base in reference[at..at + length].bytes() {
                    let base = if dice.roll(25) == 0 { b"ACGTNR"[dice.roll(6)] } else { base };
                    bases.push(base as char);
                }
                at += length;
            }
            'S' | 'I' => bases.push_str(&dice.bases(length)),
            'D' | 'N' => at += length,
            _ => {}
        }
    }
    Read { cigar, bases, span: at - start }
}

fn qualities(dice: &mut Dice, length: usize) -> String {
    if dice.roll(9) == 0 {
        return "*".to_owned();
    }
    (0..length).map(|_| (b'#' + [2, 10, 30, 38][dice.roll(4)]) as char).collect()
}

fn tags(dice: &mut Dice) -> String {
    let mut tags = String::new();
    let mut maybe = |dice: &mut Dice, text: String| {
        if dice.roll(3) == 0 {
            tags.push('\t');
            tags.push_str(&text);
        }
    };
    let number = dice.roll(70_000) as i64 - 300;
    maybe(dice, format!("XI:i:{number}"));
    maybe(dice, format!("XZ:Z:some text {number}"));
    maybe(dice, "XA:A:c".into());
    maybe(dice, "XF:f:1.5".into());
    maybe(dice, format!("XB:B:S,1,{},3", dice_less(number)));
    maybe(dice, "XH:H:1AE3".into());
    maybe(dice, format!("RG:Z:g{}", 1 + number.rem_euclid(2)));
    tags
}

fn dice_less(number: i64) -> i64 {
    number.rem_euclid(60_000)
}

fn pair(dice: &mut Dice, references: &[(String, String)], number: usize) -> String {
    let pick = [0, 0, 0, 0, 1, 1, 2 + dice.roll(12), 14][dice.roll(8)];
    let (name, bases) = &references[pick];
    let start = dice.roll(bases.len() - 320);
    let [first, second] = [start, (start + dice.roll(400)).min(bases.len() - 320)].map(|start| (start, read(dice, bases, start)));
    let mut lines = String::new();
    let mut line = |dice: &mut Dice, flags: usize, place: (&str, usize), cigar: &str, mate: (&str, usize, i64), bases: &str| {
        let quality = if cigar == "*" { 0 } else { dice.roll(61) };
        let qualities = if bases == "*" { "*".to_owned() } else { qualities(dice, bases.len()) };
        let ((reference, pos), (next, next_pos, length)) = (place, mate);
        let tags = tags(dice);
        writeln!(
            lines,
            "r{number}\t{flags}\t{reference}\t{pos}\t{quality}\t{cigar}\t{next}\t{next_pos}\t{length}\t{bases}\t{qualities}{tags}"
        )
        .unwrap();
    };
    let (a, b) = (&first.1, &second.1);
    let (left, right) = (first.0 + 1, second.0 + 1);
    let end = (left + a.span).max(right + b.span) as i64;
    let length = end - left.min(right) as i64;
    match dice.roll(14) {
        // An unmapped mate lies where the mapped one does.
        0 => {
            line(dice, 73, (name, left), &a.cigar, ("=", left, 0), &a.bases);
            let bases = dice.bases(40);
            line(dice, 133, (name, left), "*", ("=", left, 0), &bases);
        }
        1 => {
            let bases = [dice.bases(50), dice.bases(30)];
            line(dice, 77, ("*", 0), "*", ("*", 0, 0), &bases[0]);
            line(dice, 141, ("*", 0), "*", ("*", 0, 0), &bases[1]);
        }
        // Mates on different references.
        2 => {
            let (other, bases) = &references[(pick + 1) % references.len()];
            let place = dice.roll(bases.len() - 320);
            let b = read(dice, bases, place);
            line(dice, 97, (name, left), &a.cigar, (other, place + 1, 0), &a.bases);
            line(dice, 145, (other, place + 1), &b.cigar, (name, left, 0), &b.bases);
        }
        // Alone, without bases, or with a template length that is none.
        3 => line(dice, 16, (name, left), &a.cigar, ("*", 0, 0), &a.bases),
        4 => {
            line(dice, 99, (name, left), &a.cigar, ("=", right, 12_345), &a.bases);
            line(dice, 147, (name, right), &b.cigar, ("=", left, -12_345), &b.bases);
            line(dice, 355, (name, right), &b.cigar, ("=", right, 0), "*");
        }
        // A supplementary alignment of the first.
        5 => {
            line(dice, 99, (name, left), &a.cigar, ("=", right, length), &a.bases);
            line(dice, 147, (name, right), &b.cigar, ("=", left, -length), &b.bases);
            line(dice, 2145, (name, right), &b.cigar, ("=", right, 0), &b.bases);
        }
        _ => {
            line(dice, 99, (name, left), &a.cigar, ("=", right, length), &a.bases);
            line(dice, 147, (name, right), &b.cigar, ("=", left, -length), &b.bases);
        }
    }
    lines
}
