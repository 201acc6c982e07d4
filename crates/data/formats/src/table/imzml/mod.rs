//! Imaging mass spectrometry: imzML, an XML document with the metadata of spectra, and the .ibd beside it with their arrays.
//!
//! One pass over the XML makes the [`index`]: where each spectrum stands in the XML and its arrays in the .ibd. Slices are runs of
//! spectra, rectangles of pixels and windows of m/z; [`data`] reads them, and [`document`], [`ibd`] and [`arrow`] write them.

mod arrow;
mod choose;
mod data;
mod describe;
mod document;
mod entry;
mod head;
mod ibd;
mod index;
mod number;
mod objects;
mod param;
mod pass;
mod peaks;
mod selection;
mod spectrum;
mod xml;

use std::io::Write;
use std::sync::Arc;

use neardata_core::{ObjectUri, RangedRead};
use serde_json::Value;

use self::data::{Spectra, Want};
use self::head::Head;
use self::objects::Objects;
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::{FormatError, Progress};

/// Name in slices.
const NAME: &str = "imzml";
/// Name in messages.
const FORMAT: &str = "imzML";
/// What slices can be asked for by.
const OFFERED: &[&str] = &["n", "bytes", "records", "tiles", "bounds", "window", "columns"];
/// Endings of the pair, as most write them.
const ENDINGS: [&str; 2] = [".imzML", ".ibd"];

/// imzML with its .ibd; either of the two names the pair.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImzMl;

impl TableFormat for ImzMl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sniff(&self, name: &str, start: &[u8]) -> bool {
        // An .ibd begins with a number that may be any.
        let contains = |word: &[u8]| memchr::memmem::find(start, word).is_some();
        ending(name) == Some(1) || (contains(b"<mzML") && (ending(name) == Some(0) || contains(b"\"IMS:1000")))
    }

    fn objects(&self, uri: &ObjectUri) -> Result<Vec<ObjectUri>, FormatError> {
        let text = uri.to_string();
        let Some(which) = ending(&text) else {
            return Err(FormatError::Unsupported {
                name: text,
                format: FORMAT,
                what: "a name that does not end in .imzML or .ibd".into(),
                remedy: "give both objects of the pair one name with these endings, so that either tells the other".into(),
            });
        };
        let other = sibling(&text, which).parse().map_err(|error| FormatError::Query(format!("{text}: {error}")))?;
        Ok(if which == 0 { vec![uri.clone(), other] } else { vec![other, uri.clone()] })
    }

    fn index_version(&self) -> u32 {
        index::VERSION
    }

    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let [xml, ibd] =
            <[_; 2]>::try_from(objects).map_err(|objects| FormatError::NoSuchObject { asked: 1, held: objects.len() })?;
        let head = Head::of(&*xml)?;
        head.check_pair(&*xml, &*ibd)?;
        Ok(Box::new(ImzMlTable(Arc::new(Objects { xml, ibd, head }))))
    }
}

/// Which of [`ENDINGS`] a name has.
fn ending(name: &str) -> Option<usize> {
    ENDINGS.iter().position(|ending| {
        let start = name.len().checked_sub(ending.len());
        start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    })
}

/// The other name of the pair: in capitals if this one is.
fn sibling(name: &str, which: usize) -> String {
    let (stem, end) = name.split_at(name.len() - ENDINGS[which].len());
    let other = ENDINGS[1 - which];
    let capitals = !end.bytes().any(|letter| letter.is_ascii_lowercase());
    if capitals { format!("{stem}{}", other.to_ascii_uppercase()) } else { format!("{stem}{other}") }
}

/// An opened pair.
struct ImzMlTable(Arc<Objects>);

impl ImzMlTable {
    fn spectra(
        &self,
        selection: &Value,
        index: Option<Arc<dyn RangedRead>>,
        want: fn(&selection::Selection) -> Want,
    ) -> Result<Spectra, FormatError> {
        Spectra::new(Arc::clone(&self.0), index, selection, want)
    }
}

impl Table for ImzMlTable {
    fn describe(&self) -> Result<Description, FormatError> {
        Ok(describe::describe(&self.0.head, None))
    }

    fn needs_index(&self, _cut: &Cut) -> bool {
        true
    }

    fn build_index(&self, out: &mut dyn Write, progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        pass::index(&*self.0.xml, &*self.0.ibd, out, progress)
    }

    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        let index = index.ok_or_else(|| data::broken(&self.0, "there is no index"))?;
        choose::cut(&self.0, index, cut)
    }

    fn bytes(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        match object {
            0 => document::pieces(self.spectra(selection, index, document::want)?),
            1 => ibd::pieces(self.spectra(selection, index, ibd::want)?),
            asked => Err(FormatError::NoSuchObject { asked, held: ENDINGS.len() }),
        }
    }

    fn arrow(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        arrow::batches(self.spectra(selection, index, arrow::want)?)
    }
}
