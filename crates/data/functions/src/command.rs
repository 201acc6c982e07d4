//! Commands as calls: slices become standard input or files, files become outputs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::child::missing_tool;
use crate::{CallContext, CallError, CommandInput, CommandSpec, system};

/// Runs the command of a call and publishes its outputs. The result names the program that ran.
pub(crate) fn run(call: &CallContext, spec: &CommandSpec, arguments: &Value) -> Result<Value, CallError> {
    let places = Places { call, arguments, inputs: call.scratch().join("in"), outputs: call.scratch().join("out") };
    fs::create_dir_all(&places.inputs)?;
    fs::create_dir_all(&places.outputs)?;
    let filled = spec.argv.iter().map(|word| places.fill(word)).collect::<Result<Vec<_>, _>>()?;
    let Some((program, words)) = filled.split_first() else {
        return Err(CallError::input("the command line is empty; give at least a program"));
    };
    let Some(program_file) = system::find_program(&program.text) else { return Err(missing_tool(&program.text)) };

    let mut command = Command::new(&program_file);
    command.args(words.iter().map(|word| &word.text)).current_dir(call.scratch());
    let mut child = call.child(command, &program_name(&program_file));
    if let Some(input) = &spec.stdin {
        check_input(call, input)?;
        child = child.stdin_from(move |stdin| feed(call, input, stdin));
    }
    let mut outputs: BTreeSet<&str> = filled.iter().flat_map(|word| word.outputs.iter().map(String::as_str)).collect();
    if let Some(name) = &spec.stdout {
        child = child.stdout_to(File::create(places.output_file(name)?)?);
        outputs.insert(name);
    }
    child.run()?;

    for name in outputs {
        let file = places.output_file(name)?;
        if !file.is_file() {
            let text = format!("`{}` ended well but did not write its output `{name}`", program.text);
            return Err(CallError::failed(text).permanent());
        }
        call.publish_file(name, &file)?;
    }
    Ok(json!({"program": program_file}))
}

fn program_name(program: &Path) -> String {
    program.file_name().map_or_else(|| "command".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn check_input(call: &CallContext, input: &CommandInput) -> Result<(), CallError> {
    match input {
        CommandInput::Slices => Ok(()),
        CommandInput::Slice { slice, object } => slice_at(call, *slice, *object).map(|_| ()),
    }
}

fn feed(call: &CallContext, input: &CommandInput, stdin: &mut dyn Write) -> Result<(), CallError> {
    match input {
        CommandInput::Slice { slice, object } => copy_slice(call, *slice, *object, stdin),
        CommandInput::Slices => (0..call.slices().len()).try_for_each(|slice| copy_slice(call, slice, 0, stdin)),
    }
}

fn slice_at(call: &CallContext, slice: usize, object: usize) -> Result<&neardata_core::Slice, CallError> {
    let found = call.slices().get(slice).filter(|slice| object < slice.objects.len());
    found.ok_or_else(|| {
        let slices = call.slices().len();
        CallError::input(format!("the command wants object {object} of slice {slice}, but the call has {slices} slices"))
    })
}

fn copy_slice(call: &CallContext, slice: usize, object: usize, sink: &mut dyn Write) -> Result<(), CallError> {
    let mut reader = call.slicer().read(slice_at(call, slice, object)?, object)?;
    io::copy(&mut reader, sink)?;
    Ok(())
}

/// One word of the command line with its places filled, and the outputs it named.
struct Word {
    text: String,
    outputs: Vec<String>,
}

struct Places<'c> {
    call: &'c CallContext,
    arguments: &'c Value,
    inputs: PathBuf,
    outputs: PathBuf,
}

impl Places<'_> {
    fn fill(&self, template: &str) -> Result<Word, CallError> {
        let mut word = Word { text: String::new(), outputs: Vec::new() };
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            word.text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if after.starts_with(brace) {
                word.text.push_str(brace);
                rest = &after[1..];
                continue;
            }
            let unbalanced = || CallError::input(format!("unbalanced brace in `{template}`; write {{{{ or }}}} for a brace"));
            let (place, after) = after.split_once('}').filter(|_| brace == "{").ok_or_else(unbalanced)?;
            self.fill_place(place, template, &mut word)?;
            rest = after;
        }
        word.text.push_str(rest);
        Ok(word)
    }

    fn fill_place(&self, place: &str, template: &str, word: &mut Word) -> Result<(), CallError> {
        let unknown = || {
            let known = "{in:SLICE}, {in:SLICE:OBJECT}, {out:NAME}, {arg:NAME} and {scratch}";
            CallError::input(format!("unknown place `{{{place}}}` in `{template}`; known are {known}"))
        };
        let (kind, detail) = place.split_once(':').unwrap_or((place, ""));
        match kind {
            "scratch" => word.text.push_str(&self.call.scratch().to_string_lossy()),
            "arg" => match self.arguments.get(detail) {
                Some(Value::String(text)) => word.text.push_str(text),
                Some(number @ (Value::Number(_) | Value::Bool(_))) => word.text.push_str(&number.to_string()),
                _ => return Err(CallError::input(format!("`{template}` wants the argument `{detail}`, which the call lacks"))),
            },
            "in" => {
                let (slice, object) = detail.split_once(':').unwrap_or((detail, "0"));
                let number = |text: &str| text.parse::<usize>().map_err(|_| unknown());
                word.text.push_str(&self.materialise(number(slice)?, number(object)?)?.to_string_lossy());
            }
            "out" => {
                word.text.push_str(&self.output_file(detail)?.to_string_lossy());
                word.outputs.push(detail.to_owned());
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// The slice as a file, made once however often it is named.
    fn materialise(&self, slice: usize, object: usize) -> Result<PathBuf, CallError> {
        let format = &slice_at(self.call, slice, object)?.format;
        let file = self.inputs.join(format!("slice-{slice}-{object}.{format}"));
        if !file.exists() {
            let mut sink = File::create(&file)?;
            copy_slice(self.call, slice, object, &mut sink)?;
        }
        Ok(file)
    }

    fn output_file(&self, name: &str) -> Result<PathBuf, CallError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) {
            return Err(CallError::input(format!("`{name}` is not the name of an output; use letters, digits, - _ and .")));
        }
        Ok(self.outputs.join(name))
    }
}
