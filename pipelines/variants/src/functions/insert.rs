//! Before `align` with bwa: the insert size, estimated once, so that every slice is aligned with the same one.

use neardata_functions::{CallContext, CallError};
use serde::{Deserialize, Serialize};

use super::align::{command, each_line, feed_fragments};
use super::{AlignArguments, Stage};

/// Pairs that are aligned for the estimate.
const SAMPLE: u64 = 20_000;

/// Fewer good pairs than this say nothing.
const ENOUGH: usize = 100;

/// Estimates the insert size from the first reads of the first slice.
pub struct InsertSize;

/// How to align; `insert` is absent.
pub type InsertSizeArguments = AlignArguments;

/// Mean and standard deviation of the insert size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertSizeResult {
    /// Mean, to a tenth of a base.
    pub mean: f64,
    /// Standard deviation, to a tenth of a base; 0 if there were too few pairs to say.
    pub deviation: f64,
    /// Pairs it was estimated from.
    pub pairs: u64,
}

impl Stage for InsertSize {
    type Arguments = InsertSizeArguments;
    type Result = InsertSizeResult;
    const NAME: &'static str = "variants.insert-size";
    const VERSION: u32 = 2;

    fn run(&self, call: &CallContext, arguments: &InsertSizeArguments) -> Result<InsertSizeResult, CallError> {
        let command = command(call, arguments)?;
        let feed = |input: &mut dyn std::io::Write| feed_fragments(call, arguments.interleaved, SAMPLE, input);
        let (_, sizes) = call.child(command, "insert size").stdin_from(feed).read_stdout(|output| {
            let mut sizes = Vec::new();
            each_line(output, |line| {
                sizes.extend(insert_size(line));
                Ok(())
            })?;
            Ok(sizes)
        })?;
        Ok(estimate(sizes))
    }
}

/// The template length of a forward first-of-fragment in a proper pair that maps well.
fn insert_size(line: &[u8]) -> Option<i32> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split('\t');
    let flag: u32 = fields.nth(1)?.parse().ok()?;
    let quality: u32 = fields.nth(2)?.parse().ok()?;
    let length: i32 = fields.nth(3)?.parse().ok()?;
    (flag & 0x902 == 2 && quality >= 20 && length > 0).then_some(length)
}

/// As bwa does: what lies more than two quartile distances outside the middle half is left out.
fn estimate(mut sizes: Vec<i32>) -> InsertSizeResult {
    if sizes.len() < ENOUGH {
        return InsertSizeResult { mean: 0.0, deviation: 0.0, pairs: sizes.len() as u64 };
    }
    sizes.sort_unstable();
    let quartile = |quarters: usize| sizes[(sizes.len() * quarters / 4).min(sizes.len() - 1)];
    let (low, high) = (quartile(1), quartile(3));
    let reach = 2 * (high - low);
    let kept: Vec<f64> =
        sizes.iter().filter(|size| (low - reach..=high + reach).contains(*size)).map(|size| f64::from(*size)).collect();
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let variance = kept.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / kept.len() as f64;
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    InsertSizeResult { mean: tenth(mean), deviation: tenth(variance.sqrt()).max(1.0), pairs: kept.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_count_and_few_pairs_say_nothing() {
        let mut sizes: Vec<i32> = (0..1000).map(|i| 390 + i % 21).collect();
        sizes.extend([100_000; 20]);
        let found = estimate(sizes);
        assert!((found.mean - 400.0).abs() < 0.5 && (found.deviation - 6.0).abs() < 0.2, "{found:?}");
        assert_eq!(estimate(vec![400; 10]).deviation, 0.0);
    }
}
