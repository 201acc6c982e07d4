use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which kind of store an [`ObjectUri`] points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `s3://bucket/key`, any S3-compatible endpoint.
    S3,
    /// `gs://bucket/key`, Google Cloud Storage.
    Gcs,
    /// `az://container/key`, Azure Blob Storage.
    Azure,
    /// `http://host/path`.
    Http,
    /// `https://host/path`.
    Https,
    /// `file:///absolute/path`, or a plain path.
    File,
    /// `memory://name/key`, for tests, private to one process.
    Memory,
}

impl Scheme {
    fn prefix(self) -> &'static str {
        match self {
            Scheme::S3 => "s3://",
            Scheme::Gcs => "gs://",
            Scheme::Azure => "az://",
            Scheme::Http => "http://",
            Scheme::Https => "https://",
            Scheme::File => "file://",
            Scheme::Memory => "memory://",
        }
    }
}

/// Why a text is not the address of an object.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UriError {
    /// The scheme is none of ours.
    #[error("unknown scheme `{scheme}://` in `{uri}`; use s3, gs, az, http, https, file or a plain path")]
    UnknownScheme {
        /// the text before `://`
        scheme: String,
        /// the whole text
        uri: String,
    },
    /// Nothing stands where the bucket or host should be.
    #[error("`{0}` names no bucket; write it as s3://BUCKET/KEY")]
    NoBucket(String),
    /// A `..` in a key or path of a URI would leave the bucket.
    #[error("`{0}` contains a `..` segment, which no object key may")]
    DotDot(String),
    /// A user name or password stands in the address.
    #[error(
        "the address of {0} carries a user name or password, which would be written into slices and manifests; put credentials elsewhere (a presigned URL, a proxy)"
    )]
    Credentials(String),
    /// The text is empty.
    #[error("an empty text is not the address of an object")]
    Empty,
}

/// The address of an object, or of a prefix: a scheme, a bucket (or host) and a key.
///
/// Plain paths are files; relative ones are kept as given until [`ObjectUri::absolute`] is called by the edge that knows the
/// working folder.
///
/// ```
/// use neardata_core::{ObjectUri, Scheme};
/// let uri: ObjectUri = "s3://genomes/ecoli/ref.fa.gz".parse()?;
/// assert_eq!((uri.scheme(), uri.bucket(), uri.key()), (Scheme::S3, "genomes", "ecoli/ref.fa.gz"));
/// assert_eq!(uri.join("idx").to_string(), "s3://genomes/ecoli/ref.fa.gz/idx");
/// let local: ObjectUri = "/data/reads.fastq.gz".parse()?;
/// assert_eq!(local.to_string(), "file:///data/reads.fastq.gz");
/// # Ok::<(), neardata_core::UriError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectUri {
    scheme: Scheme,
    bucket: String,
    key: String,
}

impl ObjectUri {
    /// The address of a local file.
    pub fn from_path(path: impl AsRef<Path>) -> Self {
        Self { scheme: Scheme::File, bucket: String::new(), key: path.as_ref().to_string_lossy().into_owned() }
    }

    /// The kind of store.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Bucket, container or host (with port); empty for files.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key inside the bucket without a leading slash; for files the path itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The last segment of the key: what a person would call the object.
    pub fn name(&self) -> &str {
        self.key.trim_end_matches('/').rsplit('/').next().unwrap_or(&self.key)
    }

    /// The local path, if this is a file.
    pub fn path(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| PathBuf::from(&self.key))
    }

    /// This address with `segment` below it.
    pub fn join(&self, segment: &str) -> Self {
        let segment = segment.trim_start_matches('/');
        let key = match self.key.as_str() {
            "" => segment.to_owned(),
            key if key.ends_with('/') => format!("{key}{segment}"),
            key => format!("{key}/{segment}"),
        };
        Self { scheme: self.scheme, bucket: self.bucket.clone(), key }
    }

    /// A relative file made absolute below `folder`; every other address as it is.
    pub fn absolute(&self, folder: &Path) -> Self {
        match self.path() {
            Some(path) if path.is_relative() => Self::from_path(folder.join(path)),
            _ => self.clone(),
        }
    }
}

impl FromStr for ObjectUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.is_empty() {
            return Err(UriError::Empty);
        }
        let Some((scheme_text, rest)) = text.split_once("://") else {
            return Ok(Self::from_path(text));
        };
        let scheme = match scheme_text.to_ascii_lowercase().as_str() {
            "s3" | "s3a" => Scheme::S3,
            "gs" | "gcs" => Scheme::Gcs,
            "az" | "abfs" => Scheme::Azure,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "file" => Scheme::File,
            "memory" => Scheme::Memory,
            _ => return Err(UriError::UnknownScheme { scheme: scheme_text.to_owned(), uri: text.to_owned() }),
        };
        if scheme == Scheme::File {
            let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
            return if path.is_empty() { Err(UriError::Empty) } else { Ok(Self::from_path(path)) };
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(UriError::NoBucket(text.to_owned()));
        }
        if let Some((_, host)) = bucket.rsplit_once('@') {
            return Err(UriError::Credentials(host.to_owned()));
        }
        if key.split('/').any(|segment| segment == "..") {
            return Err(UriError::DotDot(text.to_owned()));
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for ObjectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::File if self.key.starts_with('/') => write!(f, "file://{}", self.key),
            Scheme::File => f.write_str(&self.key),
            _ => write!(f, "{}{}/{}", self.scheme.prefix(), self.bucket, self.key),
        }
    }
}

impl TryFrom<String> for ObjectUri {
    type Error = UriError;

    fn try_from(text: String) -> Result<Self, UriError> {
        text.parse()
    }
}

impl From<ObjectUri> for String {
    fn from(uri: ObjectUri) -> String {
        uri.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in
            ["s3://b/k/with space.gz", "gs://b/k", "az://c/k", "http://h:80/p?q=1", "file:///a/b", "rel/path", "memory://x/y"]
        {
            let uri: ObjectUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn refusals_name_the_text_and_the_remedy() {
        assert!("ftp://x/y".parse::<ObjectUri>().unwrap_err().to_string().contains("ftp"));
        assert_eq!("s3:///k".parse::<ObjectUri>(), Err(UriError::NoBucket("s3:///k".into())));
        assert_eq!("s3://b/../k".parse::<ObjectUri>(), Err(UriError::DotDot("s3://b/../k".into())));
    }
}
