//! A disk that loses what was not synced, and what the hub must survive on it.
//!
//! [`disk::SimDisk`] holds files in memory and remembers which writes and names were made durable. A power cut keeps the durable
//! ones and any subset of the others, in pieces of one sector. [`vfs`] puts SQLite's own files on the same disk. [`power_cuts`]
//! runs seeded workloads against the real volume on it.

mod checks;
mod disk;
mod power_cuts;
mod vfs;

/// A small seeded generator (splitmix64): the same seed gives the same workload.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in `percent` of cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(size).collect()
    }
}
