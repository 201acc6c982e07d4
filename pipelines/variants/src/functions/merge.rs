//! Stage `merge`: the variants, and the alignments, of all regions in one file each.

use std::io::{self, BufReader, Write};

use bytes::Bytes;
use neardata_core::{ByteRange, ObjectRef};
use neardata_functions::{CallContext, CallError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::parts::{Digesting, ObjectReader};
use super::{ReferenceFiles, Stage, node};
use crate::Caller;
use crate::output::bam::header_piece;
use crate::output::bgzf::END_OF_FILE;
use crate::output::binning::Binning;
use crate::output::vcf::{VariantCounts, VcfWriter, normalised_header};

/// What a merge made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MergeResult {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// SHA-256 of its index, in hex.
    pub index_sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Its variants.
    pub variants: VariantCounts,
}

/// Merges the variants of all regions; the slices are whole objects, in the order of the genome.
pub struct MergeVariants;

/// What to merge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MergeVariantsArguments {
    /// The reference.
    pub reference: ReferenceFiles,
    /// Who called.
    pub caller: Caller,
    /// The sample.
    pub sample: String,
}

impl Stage for MergeVariants {
    type Arguments = MergeVariantsArguments;
    type Result = MergeResult;
    const NAME: &'static str = "variants.merge";
    const VERSION: u32 = 1;

    fn run(&self, call: &CallContext, arguments: &MergeVariantsArguments) -> Result<MergeResult, CallError> {
        let contigs = node::contigs(call, &arguments.reference)?;
        let parts = parts(call);
        let source = format!("neardata {}", arguments.caller);
        let header = match parts.first() {
            Some(part) => normalised_header(&header_of(call, part)?, &contigs, &source),
            None => normalised_header(&empty_header(&arguments.sample), &contigs, &source),
        };
        let mut file = VcfWriter::new(Digesting::new(call.upload("calls.vcf.gz")?), &header, &contigs)?;
        for (ordinal, part) in parts.iter().enumerate() {
            call.check_cancelled()?;
            file.append(BufReader::with_capacity(1 << 17, reader(call, part)?))?;
            call.progress(ordinal as u64 + 1, parts.len() as u64);
        }
        let (file, index, variants) = file.finish()?;
        let bytes = file.length();
        let (upload, sha256) = file.finish();
        upload.finish()?;
        let index_sha256 = hex::encode(Sha256::digest(&index));
        call.publish("calls.vcf.gz.tbi", Bytes::from(index))?;
        call.count_records(variants.records);
        Ok(MergeResult { sha256, index_sha256, bytes, variants })
    }
}

fn empty_header(sample: &str) -> String {
    format!("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample}\n")
}

fn header_of(call: &CallContext, part: &ObjectRef) -> Result<String, CallError> {
    let mut input = BufReader::new(reader(call, part)?);
    let (mut header, mut line) = (String::new(), String::new());
    while io::BufRead::read_line(&mut input, &mut line)? > 0 && line.starts_with('#') {
        header.push_str(&line);
        line.clear();
    }
    Ok(header)
}

/// Merges the alignments: slices are pairs of a piece and its index, in the order of the genome, those without a place last.
pub struct MergeAlignments;

/// What to merge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MergeAlignmentsArguments {
    /// The reference.
    pub reference: ReferenceFiles,
    /// The sample.
    pub sample: String,
}

impl Stage for MergeAlignments {
    type Arguments = MergeAlignmentsArguments;
    type Result = MergeResult;
    const NAME: &'static str = "variants.merge-alignments";
    const VERSION: u32 = 1;

    fn run(&self, call: &CallContext, arguments: &MergeAlignmentsArguments) -> Result<MergeResult, CallError> {
        let contigs = node::contigs(call, &arguments.reference)?;
        let mut file = Digesting::new(call.upload("alignments.bam")?);
        file.write_all(&header_piece(&contigs, &arguments.sample)?)?;
        let mut index = Binning::default();
        let total = call.slices().len() as u64;
        for (ordinal, slice) in call.slices().iter().enumerate() {
            call.check_cancelled()?;
            let [piece, piece_index] = slice.objects.as_slice() else {
                return Err(CallError::input("a piece of alignments without its index"));
            };
            let damaged = |error| CallError::failed(format!("{}: {error}", piece_index.uri)).permanent();
            let of_piece: Binning = serde_json::from_slice(&node::read_object(call, piece_index)?).map_err(damaged)?;
            index.append(&of_piece, file.length());
            io::copy(&mut reader(call, piece)?, &mut file)?;
            call.progress(ordinal as u64 + 1, total);
        }
        file.write_all(&END_OF_FILE)?;
        let bytes = file.length();
        let (upload, sha256) = file.finish();
        upload.finish()?;
        let index = index.to_bai(contigs.len());
        let index_sha256 = hex::encode(Sha256::digest(&index));
        call.publish("alignments.bam.bai", Bytes::from(index))?;
        Ok(MergeResult { sha256, index_sha256, bytes, variants: VariantCounts::default() })
    }
}

fn parts(call: &CallContext) -> Vec<ObjectRef> {
    call.slices().iter().flat_map(|slice| slice.objects.iter().cloned()).collect()
}

fn reader(call: &CallContext, object: &ObjectRef) -> Result<ObjectReader, CallError> {
    Ok(ObjectReader::new(call.stores().open(object)?, ByteRange::new(0, object.size), 4 << 20))
}
