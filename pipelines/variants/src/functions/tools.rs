//! The programs a run needs: where they are, what they say their version is, and how to get them.

use std::path::PathBuf;
use std::process::Command;

use neardata_functions::{CallError, Cause};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::alignment::rammap;
use crate::{Aligner, VariantsArguments};

/// A program on this machine, or an aligner in this one. It is part of the address of every call that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it says its version is.
    pub version: String,
    /// SHA-256 of the program file, in hex; empty for what is part of this program.
    pub sha256: String,
}

impl Tool {
    /// The aligner in this program: another version may align otherwise, so calls are addressed by it too.
    pub fn rammap() -> Self {
        Self { name: Aligner::Rammap.name().to_owned(), version: rammap::VERSION.to_owned(), sha256: String::new() }
    }

    /// The program of this name on PATH; all Debian packages of these tools are named like them.
    pub fn find(name: &str) -> Result<Self, CallError> {
        let path = which(name).ok_or_else(|| {
            CallError::new(Cause::MissingTool, format!("missing tool: {name}; install it with `apt-get install {name}`"))
        })?;
        let file = std::fs::read(&path).map_err(|error| CallError::input(format!("{}: {error}", path.display())))?;
        Ok(Self { name: name.to_owned(), version: version(name), sha256: hex::encode(Sha256::digest(file)) })
    }
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The first word of a tool's own account of itself that looks like a version.
fn version(name: &str) -> String {
    let arguments: &[&str] = if name == "bwa" { &[] } else { &["--version"] };
    let Ok(output) = Command::new(name).args(arguments).output() else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let is_version = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    text.split_whitespace().find(is_version).map_or("unknown", |word| word.trim_start_matches('v')).to_owned()
}

/// Every tool these arguments need, or an error that says how to install the first program missing.
pub fn tools_needed(arguments: &VariantsArguments) -> Result<Vec<Tool>, CallError> {
    let aligner = match arguments.aligner {
        Aligner::Rammap => Tool::rammap(),
        Aligner::Minimap2 | Aligner::Bwa => Tool::find(arguments.aligner.name())?,
    };
    Ok(vec![aligner, Tool::find(arguments.caller.name())?])
}

#[cfg(test)]
mod tests {
    use neardata_core::ObjectUri;

    use super::*;

    #[test]
    fn rammap_is_among_the_tools_with_the_version_that_is_built_in() {
        let uri = |path: &str| ObjectUri::from_path(path);
        let arguments = VariantsArguments::new(vec![uri("/r.fq")], uri("/ref.fa"), uri("/out"));
        let tools = tools_needed(&arguments).unwrap();
        assert_eq!(tools[0], Tool::rammap());
        assert_eq!((tools.len(), tools[1].name.as_str()), (2, "bcftools"));
        let pinned = format!("rammap-core = {{ version = \"={}\"", tools[0].version);
        assert!(include_str!("../../../../Cargo.toml").contains(&pinned), "`rammap::VERSION` is not the pinned one");
    }
}
