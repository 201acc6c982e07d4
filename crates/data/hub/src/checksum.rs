//! The hashes of S3: MD5 for entity tags, and the checksums of today's SDKs, all in one pass over the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use md5::Digest as _;
use serde::{Deserialize, Serialize};

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME: what is computed when the client names none.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// What an object's checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All of its bytes.
    FullObject,
    /// The checksums of its parts, one after the other.
    Composite,
}

/// A checksum that was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How.
    pub algorithm: ChecksumAlgorithm,
    /// Over what.
    pub kind: ChecksumKind,
    /// The value in base64, with `-N` appended where it is composite.
    pub value: String,
}

impl ChecksumAlgorithm {
    /// The algorithm used where the client names none.
    pub const DEFAULT: Self = Self::Crc64Nvme;

    /// S3's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm with this name of S3's, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// What an upload's checksum covers when the client does not say.
    pub fn default_kind(self) -> ChecksumKind {
        if self == Self::Crc64Nvme { ChecksumKind::FullObject } else { ChecksumKind::Composite }
    }

    /// Whether the checksum of a whole can be had from those of its parts.
    pub fn can_combine(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Bytes of one checksum.
    fn width(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

enum State {
    Crc(Box<crc_fast::Digest>),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// Hashes bytes as they pass: MD5 and one checksum.
pub(crate) struct Hasher {
    md5: md5::Md5,
    algorithm: ChecksumAlgorithm,
    state: State,
}

/// What a [`Hasher`] found.
pub(crate) struct Digests {
    pub(crate) md5: [u8; 16],
    pub(crate) checksum: Checksum,
}

impl Hasher {
    pub(crate) fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self { md5: md5::Md5::new(), algorithm, state: State::new(algorithm) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.state.update(bytes);
    }

    pub(crate) fn finish(self) -> Digests {
        let value = BASE64.encode(self.state.finish(self.algorithm));
        Digests {
            md5: self.md5.finalize().into(),
            checksum: Checksum { algorithm: self.algorithm, kind: ChecksumKind::FullObject, value },
        }
    }
}

impl State {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match (algorithm.crc(), algorithm) {
            (Some(crc), _) => Self::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, ChecksumAlgorithm::Sha1) => Self::Sha1(sha1::Digest::new()),
            (None, _) => Self::Sha256(sha2::Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest) => digest.update(bytes),
            Self::Sha1(digest) => sha1::Digest::update(digest, bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    fn finish(self, algorithm: ChecksumAlgorithm) -> Vec<u8> {
        match self {
            Self::Crc(digest) => crc_bytes(algorithm, digest.finalize()),
            Self::Sha1(digest) => sha1::Digest::finalize(digest).to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.width()..].to_vec()
}

/// The entity tag of an object made of parts with these MD5s: the MD5 of the MD5s, and how many.
pub(crate) fn multipart_etag<'a>(part_md5s: impl ExactSizeIterator<Item = &'a [u8]>) -> String {
    let count = part_md5s.len();
    let mut hasher = md5::Md5::new();
    for part in part_md5s {
        hasher.update(part);
    }
    format!("{}-{count}", hex::encode(hasher.finalize()))
}

/// The checksum of an object made of parts with these checksums (base64) and sizes; absent where a part's is missing or malformed.
pub(crate) fn multipart_checksum(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[(Option<&Checksum>, u64)],
) -> Option<Checksum> {
    let values: Vec<Vec<u8>> = parts
        .iter()
        .map(|(checksum, _)| {
            let checksum = checksum.filter(|checksum| checksum.algorithm == algorithm)?;
            BASE64.decode(&checksum.value).ok().filter(|bytes| bytes.len() == algorithm.width())
        })
        .collect::<Option<_>>()?;
    let value = match (kind, algorithm.crc()) {
        (ChecksumKind::FullObject, Some(crc)) => {
            let mut whole: Option<u64> = None;
            for (bytes, (_, size)) in values.iter().zip(parts) {
                let part = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
                whole = Some(match whole {
                    None => part,
                    Some(before) => crc_fast::checksum_combine(crc, before, part, *size),
                });
            }
            BASE64.encode(crc_bytes(algorithm, whole?))
        }
        (ChecksumKind::FullObject, None) => return None,
        (ChecksumKind::Composite, _) => {
            let mut state = State::new(algorithm);
            values.iter().for_each(|value| state.update(value));
            format!("{}-{}", BASE64.encode(state.finish(algorithm)), parts.len())
        }
    };
    Some(Checksum { algorithm, kind, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish().checksum
    }

    #[test]
    fn known_values_of_the_check_string() {
        // "123456789" is the check input of the CRC catalogue; the SHA values are those of coreutils.
        let text = b"123456789";
        assert_eq!(one(ChecksumAlgorithm::Crc32, text).value, BASE64.encode(0xcbf4_3926u32.to_be_bytes()));
        assert_eq!(one(ChecksumAlgorithm::Crc32c, text).value, BASE64.encode(0xe306_9283u32.to_be_bytes()));
        assert_eq!(one(ChecksumAlgorithm::Crc64Nvme, text).value, BASE64.encode(0xae8b_1486_0a79_9888u64.to_be_bytes()));
        let sha1 = BASE64.decode(one(ChecksumAlgorithm::Sha1, text).value).unwrap();
        assert_eq!(hex::encode(sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        let sha256 = BASE64.decode(one(ChecksumAlgorithm::Sha256, text).value).unwrap();
        assert_eq!(hex::encode(sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    }

    #[test]
    fn parts_combine_to_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let checksums: Vec<(Checksum, u64)> =
                whole.chunks(33_333).map(|part| (one(algorithm, part), part.len() as u64)).collect();
            let parts: Vec<_> = checksums.iter().map(|(checksum, size)| (Some(checksum), *size)).collect();
            let combined = multipart_checksum(algorithm, ChecksumKind::FullObject, &parts);
            assert_eq!(combined, Some(one(algorithm, &whole)));
        }
    }

    #[test]
    fn composite_counts_the_parts() {
        let part = one(ChecksumAlgorithm::Sha256, b"a");
        let composite =
            multipart_checksum(ChecksumAlgorithm::Sha256, ChecksumKind::Composite, &[(Some(&part), 1), (Some(&part), 1)]);
        assert!(composite.unwrap().value.ends_with("-2"));
        assert_eq!(multipart_checksum(ChecksumAlgorithm::Sha256, ChecksumKind::FullObject, &[(Some(&part), 1)]), None);
    }
}
