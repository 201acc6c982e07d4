use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::settings::Settings;
use crate::{CliError, output};

/// A program the platform can use, how it says its version, and what brings it.
struct Tool {
    name: &'static str,
    version: &'static [&'static str],
    package: &'static str,
    used_for: &'static str,
    required: bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "bcftools",
        version: &["--version"],
        package: "bcftools",
        used_for: "calling variants (default caller)",
        required: true,
    },
    Tool { name: "samtools", version: &["--version"], package: "samtools", used_for: "checking alignments", required: false },
    Tool { name: "minimap2", version: &["--version"], package: "minimap2", used_for: "--aligner minimap2", required: false },
    Tool { name: "bwa", version: &[], package: "bwa", used_for: "--aligner bwa", required: false },
    Tool { name: "freebayes", version: &["--version"], package: "freebayes", used_for: "--caller freebayes", required: false },
    Tool { name: "python3", version: &["--version"], package: "python3", used_for: "Python functions", required: false },
    Tool { name: "dwgsim", version: &["-h"], package: "dwgsim", used_for: "the demo's reads", required: false },
    Tool { name: "rclone", version: &["version"], package: "rclone", used_for: "the demo's S3 client", required: false },
];

#[derive(Serialize)]
struct Finding {
    tool: &'static str,
    found: Option<PathBuf>,
    version: Option<String>,
    used_for: &'static str,
    required: bool,
    install: Option<String>,
}

/// `neardata doctor`: fails only if something that the default pipeline needs is missing.
pub(crate) fn run(as_json: bool) -> Result<(), CliError> {
    let findings: Vec<Finding> = TOOLS.iter().map(examine).collect();
    let missing: Vec<_> = findings.iter().filter(|finding| finding.found.is_none()).collect();
    let packages: Vec<_> =
        TOOLS.iter().filter(|tool| missing.iter().any(|finding| finding.tool == tool.name)).map(|tool| tool.package).collect();
    let settings = Settings::load(&[])?;
    if as_json {
        for finding in &findings {
            output::json(finding)?;
        }
    } else {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                let state = if finding.found.is_some() { "found" } else { "MISSING" };
                let version = finding.version.clone().unwrap_or_default();
                vec![finding.tool.to_owned(), state.to_owned(), version, finding.used_for.to_owned()]
            })
            .collect();
        output::table(&["TOOL", "STATE", "VERSION", "USED FOR"], &rows)?;
        output::line(format!(
            "\nneardata {}, data folder {}, cache {}",
            neardata_core::VERSION,
            settings.data_folder().display(),
            settings.cache_folder().display()
        ))?;
        if !packages.is_empty() {
            output::line(format!(
                "\nto install what is missing:\n  apt-get install --no-install-recommends {}",
                packages.join(" ")
            ))?;
        }
    }
    match missing.iter().find(|finding| finding.required) {
        Some(finding) => Err(CliError::Failed(format!("{} is missing and the default pipeline needs it", finding.tool))),
        None => Ok(()),
    }
}

fn examine(tool: &Tool) -> Finding {
    let found = find(tool.name);
    let version = found.as_ref().and_then(|path| version(path, tool.version));
    let install = found.is_none().then(|| format!("apt-get install --no-install-recommends {}", tool.package));
    Finding { tool: tool.name, found, version, used_for: tool.used_for, required: tool.required, install }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The first word with a digit and a dot in what the tool prints of itself.
fn version(path: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(path).args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let like_a_version =
        |word: &&str| word.contains('.') && word.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit());
    text.split_whitespace().find(like_a_version).map(|word| word.trim_end_matches(',').to_owned())
}
