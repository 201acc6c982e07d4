//! Where the blocks of a BGZF object lie: the table that `bgzip -i` and `samtools faidx` keep in a `.gzi` file.

/// Places where decoding can start, each in the object and in its uncompressed bytes; ascending, the first is the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocks(Vec<[u64; 2]>);

impl Default for Blocks {
    fn default() -> Self {
        Self(vec![[0, 0]])
    }
}

impl Blocks {
    /// Adds the block that begins at byte `offset` of the object, whose content begins at `out`.
    pub(crate) fn push(&mut self, offset: u64, out: u64) {
        if offset > 0 {
            self.0.push([offset, out]);
        }
    }

    /// Reads a `.gzi`: a number of blocks, and the two offsets of each but the first.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (count, table) = bytes.split_first_chunk::<8>()?;
        let (pairs, rest) = table.as_chunks::<16>();
        if u64::from_le_bytes(*count) != pairs.len() as u64 || !rest.is_empty() {
            return None;
        }
        let mut blocks = Self::default();
        for pair in pairs {
            let [offset, out] = [0, 8].map(|at| pair[at..].first_chunk().map(|number| u64::from_le_bytes(*number)));
            blocks.0.push([offset?, out?]);
        }
        blocks.0.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]).then_some(blocks)
    }

    /// The same table as it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.0.len() as u64 - 1).to_le_bytes().to_vec();
        bytes.extend(self.0.iter().skip(1).flatten().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    /// Where decoding starts to reach `out`: byte of the object, uncompressed offset.
    pub(crate) fn before(&self, out: u64) -> [u64; 2] {
        let behind = self.0.partition_point(|block| block[1] <= out);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).copied().unwrap_or_default()
    }

    /// The byte of the object before which everything up to `out` is decoded; none if that is its end.
    pub(crate) fn behind(&self, out: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|block| block[1] < out)).map(|block| block[0])
    }
}

#[cfg(test)]
mod tests {
    use super::Blocks;

    #[test]
    fn blocks_are_found_by_their_content() {
        let mut blocks = Blocks::default();
        [[0, 0], [100, 1000], [150, 1000], [200, 3000]].into_iter().for_each(|[offset, out]| blocks.push(offset, out));
        assert_eq!(Blocks::parse(&blocks.to_bytes()), Some(blocks.clone()));
        assert_eq!([0, 999, 1000, 2999, 9999].map(|out| blocks.before(out)[0]), [0, 0, 150, 150, 200]);
        assert_eq!([1, 1000, 1001, 3001].map(|out| blocks.behind(out)), [Some(100), Some(100), Some(200), None]);
        for wrong in [&[][..], &[1, 0, 0, 0, 0, 0, 0, 0], &[0xff; 24]] {
            assert_eq!(Blocks::parse(wrong), None);
        }
    }
}
