use std::time::Duration;

use neardata_core::{CallKey, Slice, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One function applied to some slices: what is to be computed, and within which limits.
///
/// ```
/// use neardata_functions::{CallSpec, FunctionSpec};
/// let spec = CallSpec::new(FunctionSpec::native("variants.align", 1)).arguments(serde_json::json!({"preset": "sr"})).retries(2);
/// let same_work = CallSpec::new(FunctionSpec::native("variants.align", 1)).arguments(serde_json::json!({"preset": "sr"}));
/// assert_eq!(spec.key(), same_work.key());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSpec {
    /// The function.
    pub function: FunctionSpec,
    /// Its arguments. Everything that can change the result belongs here: digests of files it reads, options, seeds.
    #[serde(default)]
    pub arguments: Value,
    /// The slices it works on, with the pins of the objects they were cut from.
    #[serde(default)]
    pub slices: Vec<Slice>,
    /// What one attempt may use.
    #[serde(default)]
    pub limits: Limits,
    /// How often a failed attempt is tried again, unless the failure is permanent.
    #[serde(default)]
    pub retries: u32,
}

/// What one attempt at a call may use; absent means no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Resident memory in bytes, of the process and its children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Wall time of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
}

/// Which function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FunctionSpec {
    /// One that lies in the `neardata` binary itself.
    Native {
        /// Its registered name.
        name: String,
        /// Its version, raised when the same input would give another output.
        version: u32,
    },
    /// A program of the machine.
    Command(CommandSpec),
    /// A Python callable, shipped as a pickle.
    Python {
        /// What stands for the function in an address: a digest over its code and environment.
        digest: String,
    },
}

/// A command line with places for inputs and outputs.
///
/// In every word of `argv`, `{in:I}` is the path of slice `I` as a file (`{in:I:O}` of its object `O`, for pairs), `{out:NAME}` the
/// path of the output `NAME`, `{arg:NAME}` a text or number of the call's arguments, `{scratch}` the attempt's folder, and `{{`, `}}`
/// are braces. Outputs are published under their names when the command has ended with exit code 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// Program and arguments; never passed through a shell.
    pub argv: Vec<String>,
    /// What the command reads on standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<CommandInput>,
    /// The name under which standard output is published; absent, it goes to the job's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// SHA-256 of the program file, so that another version of the tool has another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
}

/// What a command reads on standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandInput {
    /// All slices, one after the other; of pairs the first object.
    Slices,
    /// One object of one slice.
    Slice {
        /// Which slice of the call.
        slice: usize,
        /// Which of its objects.
        object: usize,
    },
}

impl FunctionSpec {
    /// The native function of this name and version.
    pub fn native(name: impl Into<String>, version: u32) -> Self {
        Self::Native { name: name.into(), version }
    }

    /// What to call it in an event or a log line.
    pub fn label(&self) -> &str {
        match self {
            Self::Native { name, .. } => name,
            Self::Command(command) => command.argv.first().map_or("command", String::as_str),
            Self::Python { .. } => "python",
        }
    }
}

impl CallSpec {
    /// A call of `function` without arguments, slices or limits.
    pub fn new(function: FunctionSpec) -> Self {
        Self { function, arguments: Value::Null, slices: Vec::new(), limits: Limits::default(), retries: 0 }
    }

    /// The same call with these arguments.
    pub fn arguments(self, arguments: Value) -> Self {
        Self { arguments, ..self }
    }

    /// The same call on these slices.
    pub fn slices(self, slices: Vec<Slice>) -> Self {
        Self { slices, ..self }
    }

    /// The same call within these limits.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same call, tried again this often.
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The content address of its result: function, arguments and slices. How it is run stays out.
    pub fn key(&self) -> CallKey {
        let identity = json!({"arguments": self.arguments, "function": self.function, "slices": self.slices});
        CallKey::from_text(canonical::digest(&identity))
    }
}
