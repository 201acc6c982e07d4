//! Running a manifest again, and telling whether it gave the same.

use neardata_core::ObjectUri;
use neardata_functions::CallError;
use neardata_store::Stores;
use serde::{Deserialize, Serialize};

use crate::VariantsArguments;
use crate::functions::tools_needed;
use crate::manifest::Manifest;

/// An output of two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Its digest in the manifest.
    pub before: String,
    /// Its digest now; `None` if there is none now.
    pub now: Option<String>,
}

impl Compared {
    /// Whether both runs gave the same bytes.
    pub fn is_same(&self) -> bool {
        self.now.as_ref() == Some(&self.before)
    }
}

/// Reads a manifest.
pub fn read_manifest(stores: &Stores, uri: &ObjectUri) -> Result<Manifest, CallError> {
    let bytes = stores.get(uri)?;
    let malformed =
        |error| CallError::input(format!("{uri} is no manifest of a run of variants: {error}; give the manifest.json of one"));
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(malformed)?;
    if manifest.v > Manifest::VERSION || manifest.pipeline != "variants" {
        return Err(CallError::input(format!(
            "{uri} was written by NearData {} for another pipeline or shape",
            manifest.neardata
        )));
    }
    Ok(manifest)
}

/// The arguments that run a manifest again, its results under `output`; an error if an input is another version by now.
pub fn reproduce(stores: &Stores, manifest: &Manifest, output: ObjectUri) -> Result<VariantsArguments, CallError> {
    for input in &manifest.inputs {
        let now = stores.head(&input.object.uri)?;
        if (&now.pin, now.size) != (&input.object.pin, input.object.size) {
            let uri = &input.object.uri;
            return Err(CallError::input(format!(
                "{uri} is another version than the manifest's; restore that one to reproduce the run"
            )));
        }
    }
    Ok(VariantsArguments { output, ..manifest.arguments.clone() })
}

/// Tools that are another version here than in the manifest: a difference they may explain.
pub fn changed_tools(manifest: &Manifest) -> Result<Vec<String>, CallError> {
    let here = tools_needed(&manifest.arguments)?;
    let changed = manifest.tools.iter().filter_map(|before| {
        let now = here.iter().find(|tool| tool.name == before.name)?;
        (now != before).then(|| format!("{} was {} and is {}", before.name, before.version, now.version))
    });
    Ok(changed.collect())
}

/// Compares the reproducible outputs of two runs by their digests.
pub fn compare_outputs(before: &Manifest, now: &Manifest) -> Vec<Compared> {
    let of_now = |name: &str| now.outputs.iter().find(|output| output.name == name).map(|output| output.sha256.clone());
    let compared = before.outputs.iter().filter(|output| output.reproducible);
    compared
        .map(|output| Compared { name: output.name.clone(), before: output.sha256.clone(), now: of_now(&output.name) })
        .collect()
}
