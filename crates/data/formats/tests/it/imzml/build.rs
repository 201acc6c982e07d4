//! imzML made up: every layout that exporters are known to write, and the arrays that must come out.

use std::fmt::Write as _;
use std::io::Write as _;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    fn param(self) -> &'static str {
        match self {
            Self::I16 => r#"<cvParam cvRef="IMS" accession="IMS:1100001" name="16-bit integer"/>"#,
            Self::I32 => r#"<cvParam cvRef="MS" accession="MS:1000519" name="32-bit integer"/>"#,
            Self::I64 => r#"<cvParam cvRef="IMS" accession="IMS:1000142" name="64-bit integer"/>"#,
            Self::F32 => r#"<cvParam cvRef="MS" accession="MS:1000521" name="32-bit float"/>"#,
            Self::F64 => r#"<cvParam cvRef="MS" accession="MS:1000523" name="64-bit float"/>"#,
        }
    }

    fn bytes(self, values: &[f64]) -> Vec<u8> {
        let value = |value: &f64| match self {
            Self::I16 => (*value as i16).to_le_bytes().to_vec(),
            Self::I32 => (*value as i32).to_le_bytes().to_vec(),
            Self::I64 => (*value as i64).to_le_bytes().to_vec(),
            Self::F32 => (*value as f32).to_le_bytes().to_vec(),
            Self::F64 => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(value).collect()
    }
}

/// What to write.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub continuous: bool,
    pub size: [i32; 2],
    /// The first pixel.
    pub origin: [i32; 2],
    pub z: bool,
    /// Peaks of a spectrum at most.
    pub peaks: usize,
    pub mz: Kind,
    pub intensity: Kind,
    pub zlib: bool,
    /// Spectra of every third pixel.
    pub repeats: usize,
    /// Whether every fifth spectrum is empty.
    pub empty: bool,
    /// Whether m/z go up.
    pub unsorted: bool,
    /// Whether intensities stand in front of m/z, in the XML and in the .ibd.
    pub intensity_first: bool,
    /// Whether arrays are described in each spectrum rather than in groups.
    pub inline: bool,
    pub encoded_length: bool,
    pub array_length: bool,
    /// `indexedmzML` around it, a byte-order mark in front, apostrophes, comments.
    pub odd: bool,
    /// A third array.
    pub more: bool,
    /// Bytes of the .ibd between arrays.
    pub gap: usize,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            continuous: false,
            size: [6, 5],
            origin: [1, 1],
            z: false,
            peaks: 40,
            mz: Kind::F64,
            intensity: Kind::F32,
            zlib: false,
            repeats: 1,
            empty: false,
            unsorted: false,
            intensity_first: false,
            inline: false,
            encoded_length: true,
            array_length: true,
            odd: false,
            more: false,
            gap: 0,
        }
    }
}

/// A spectrum as it must come out.
pub(super) struct Truth {
    pub x: i32,
    pub y: i32,
    pub mz: Vec<f64>,
    pub intensity: Vec<f64>,
}

pub(super) struct Pair {
    pub xml: Vec<u8>,
    pub ibd: Vec<u8>,
    pub truth: Vec<Truth>,
}

const UUID: &str = "{0B3D5F7A-1122-3344-5566-77889900AABB}";

/// A number that looks random and is the same every time.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)) % 10_000) as f64
}

fn truths(spec: &Spec) -> Vec<Truth> {
    let mut truths = Vec::new();
    for pixel in 0..spec.size[0] * spec.size[1] {
        let (x, y) = (spec.origin[0] + pixel % spec.size[0], spec.origin[1] + pixel / spec.size[0]);
        for _ in 0..if pixel % 3 == 0 { spec.repeats } else { 1 } {
            let seed = truths.len();
            let peaks = match spec.continuous {
                true => spec.peaks,
                false if spec.empty && seed % 5 == 2 => 0,
                false => 1 + noise(seed) as usize % spec.peaks,
            };
            let jitter = if spec.continuous { 0.0 } else { noise(seed) / 20_000.0 };
            let mut mz: Vec<f64> = (0..peaks).map(|peak| 100.0 + peak as f64 * 2.0 + jitter).collect();
            if spec.unsorted {
                mz.sort_by_key(|value| (noise(value.to_bits() as usize)) as u64);
            }
            let mz = mz.into_iter().map(|value| if spec.mz == Kind::F32 { f64::from(value as f32) } else { value }).collect();
            let intensity = (0..peaks).map(|peak| noise(seed * 1000 + peak)).collect();
            truths.push(Truth { x, y, mz, intensity });
        }
    }
    truths
}

struct Written {
    offset: usize,
    count: usize,
    encoded: usize,
}

/// Writes the pair.
pub(super) fn build(spec: &Spec) -> Pair {
    let truth = truths(spec);
    let mut ibd: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&UUID.replace(['{', '}', '-'], "")[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let mut put = |kind: Kind, values: &[f64]| {
        ibd.extend(vec![0xee; spec.gap]);
        let mut bytes = kind.bytes(values);
        if spec.zlib {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let written = Written { offset: ibd.len(), count: values.len(), encoded: bytes.len() };
        ibd.extend(bytes);
        written
    };
    let shared = spec.continuous.then(|| put(spec.mz, &truth[0].mz));
    let mut spectra = String::new();
    for (number, spectrum) in truth.iter().enumerate() {
        let mut mz = None;
        let early = spec.intensity_first.then(|| put(spec.intensity, &spectrum.intensity));
        if shared.is_none() {
            mz = Some(put(spec.mz, &spectrum.mz));
        }
        let intensity = early.unwrap_or_else(|| put(spec.intensity, &spectrum.intensity));
        let mut arrays = [array(spec, true, mz.as_ref().or(shared.as_ref()).unwrap()), array(spec, false, &intensity)];
        if spec.intensity_first {
            arrays.reverse();
        }
        let more = if spec.more {
            array(spec, true, &intensity).replace("mzArray", "mobility").replace("MS:1000514", "MS:1003007")
        } else {
            String::new()
        };
        let z = if spec.z { r#"<cvParam cvRef="IMS" accession="IMS:1000052" name="position z" value="3"/>"# } else { "" };
        let low = spectrum.mz.iter().copied().fold(f64::INFINITY, f64::min);
        write!(
            spectra,
            r#"
      <spectrum id="Scan={number}" defaultArrayLength="0" index="{number}">
        <cvParam cvRef="MS" accession="MS:1000528" name="lowest observed m/z" value="{low}"/>
        <cvParam cvRef="MS" accession="MS:1000285" name="total ion current" value="17"/>
        <scanList count="1"><scan>
          <cvParam cvRef="IMS" accession="IMS:1000050" name="position x" value="{}"/>
          <cvParam cvRef="IMS" accession="IMS:1000051" name="position y" value="{}"/>{z}
        </scan></scanList>
        <binaryDataArrayList count="{}">{more}{}</binaryDataArrayList>
      </spectrum>"#,
            spectrum.x,
            spectrum.y,
            2 + usize::from(spec.more),
            arrays.concat()
        )
        .unwrap();
    }
    Pair { xml: document(spec, truth.len(), &spectra), ibd, truth }
}

fn described(spec: &Spec, mz: bool) -> String {
    let (accession, name, kind) =
        if mz { (1_000_514, "m/z array", spec.mz) } else { (1_000_515, "intensity array", spec.intensity) };
    let compression = if spec.zlib { (1_000_574, "zlib compression") } else { (1_000_576, "no compression") };
    format!(
        r#"<cvParam cvRef="MS" accession="MS:{}" name="{}"/>{}<cvParam cvRef="MS" accession="MS:{accession}" name="{name}"/>"#,
        compression.0,
        compression.1,
        kind.param()
    )
}

fn array(spec: &Spec, mz: bool, written: &Written) -> String {
    let what = match (spec.inline, mz) {
        (true, _) => described(spec, mz),
        (false, true) => r#"<referenceableParamGroupRef ref="mzArray"/>"#.to_owned(),
        (false, false) => r#"<referenceableParamGroupRef ref="intensityArray"/>"#.to_owned(),
    };
    let number = |accession: u32, value: usize| format!(r#"<cvParam cvRef="IMS" accession="IMS:{accession}" value="{value}"/>"#);
    let mut text = format!(r#"<binaryDataArray encodedLength="0">{}"#, number(1_000_102, written.offset));
    text += &what;
    if spec.array_length {
        text += &number(1_000_103, written.count);
    }
    if spec.encoded_length {
        text += &number(1_000_104, written.encoded);
    }
    text + "<binary/></binaryDataArray>"
}

fn document(spec: &Spec, count: usize, spectra: &str) -> Vec<u8> {
    let mode = if spec.continuous { ("1000030", "continuous") } else { ("1000031", "processed") };
    let (mz, intensity) = (described(spec, true), described(spec, false));
    let groups = format!(
        r#"<referenceableParamGroup id="mzArray">{mz}</referenceableParamGroup>
    <referenceableParamGroup id="intensityArray">{intensity}</referenceableParamGroup>"#
    );
    let groups = if spec.inline { String::new() } else { groups };
    let (open, close) = match spec.odd {
        true => ("<!-- a < b --><indexedmzML>", "<indexList count=\"0\"/><indexListOffset>77</indexListOffset></indexedmzML>"),
        false => ("", ""),
    };
    let text = format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1"?>
{open}<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1">
  <cvList count="1"><cv id="IMS" fullName='the "imaging" one' URI="x"/></cvList>
  <fileDescription><fileContent>
    <cvParam cvRef="IMS" accession="IMS:{}" name="{}" value=""/>
    <cvParam cvRef="IMS" accession="IMS:1000080" name="universally unique identifier" value="{UUID}"/>
    <cvParam cvRef="IMS" accession="IMS:1000091" name="ibd SHA-1" value="00"/>
    <cvParam cvRef="MS" accession="MS:1000127" name="centroid spectrum"/>
  </fileContent><contact><cvParam cvRef="MS" accession="MS:1000590" name="contact affiliation" value="Gie@en"/></contact></fileDescription>
  <referenceableParamGroupList count="2">
    {groups}
  </referenceableParamGroupList>
  <run id="r">
    <spectrumList count="{count}" defaultDataProcessingRef="d">{spectra}
    </spectrumList>
  </run>
</mzML>{close}
"#,
        mode.0, mode.1
    );
    let mut bytes = if spec.odd { vec![0xef, 0xbb, 0xbf] } else { Vec::new() };
    // A letter that is no UTF-8.
    bytes.extend(text.bytes().map(|byte| if byte == b'@' { 0xdf } else { byte }));
    bytes
}
