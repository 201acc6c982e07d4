//! Commands as calls, through the worker's own loop over a socket pair.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use neardata_core::{AttemptId, JobId, ObjectUri, Slice};
use neardata_formats::{Partition, SideCars, Slicer};
use neardata_functions::frames::{self, FrameReader};
use neardata_functions::protocol::{CallOrder, FromWorker, PROTOCOL, ToWorker};
use neardata_functions::worker::{self, WorkerOptions};
use neardata_functions::{CallSpec, Cause, CommandInput, CommandSpec, FunctionSpec, Registry};
use neardata_store::Stores;
use serde_json::{Value, json};
use tempfile::tempdir;

/// What the worker answers to one order.
fn run(folder: &Path, command: CommandSpec, arguments: Value, slices: Vec<Slice>) -> FromWorker {
    let socket = folder.join("socket");
    let _stale = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let options = WorkerOptions {
        socket,
        id: "me".into(),
        slots: 1,
        scratch: folder.join("scratch"),
        registry: Registry::new(),
        stores: Stores::from_env().unwrap(),
    };
    let worker = std::thread::spawn(move || worker::serve(options));
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = FrameReader::new(stream.try_clone().unwrap());
    let hello = reader.next_frame().unwrap().unwrap().header_as().unwrap();
    assert!(matches!(hello, FromWorker::Hello { protocol: PROTOCOL, slots: 1, ref id, .. } if id == "me"), "{hello:?}");
    let send = |stream: &mut UnixStream, message| frames::write(stream, &message, &[]).unwrap();
    let side_cars = ObjectUri::from_path(folder.join("side-cars"));
    send(&mut stream, ToWorker::Welcome { protocol: PROTOCOL, version: "x".into(), side_cars });
    let spec = CallSpec::new(FunctionSpec::Command(command)).arguments(arguments).slices(slices);
    let order = CallOrder {
        lease: 5,
        job: JobId::fresh(),
        stage: "s".into(),
        call: 0,
        key: spec.key(),
        attempt: AttemptId::fresh(),
        function: spec.function,
        arguments: spec.arguments,
        slices: spec.slices,
        outputs: ObjectUri::from_path(folder.join("outputs")),
    };
    send(&mut stream, ToWorker::Call(Box::new(order)));
    let answer = loop {
        match reader.next_frame().unwrap().unwrap().header_as().unwrap() {
            FromWorker::Started { lease: 5 } | FromWorker::Heartbeat { .. } => {}
            answer => break answer,
        }
    };
    send(&mut stream, ToWorker::Stop);
    worker.join().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(folder.join("scratch")).unwrap().count(), 0, "scratch was left");
    answer
}

fn slices(folder: &Path) -> Vec<Slice> {
    let path = folder.join("reads.fastq");
    let text: String = (0..100).map(|read| format!("@r{read}\nACGT\n+\nIIII\n")).collect();
    std::fs::write(&path, text).unwrap();
    let slicer = Slicer::new(Stores::from_env().unwrap(), SideCars { root: ObjectUri::from_path(folder.join("side-cars")) });
    slicer.slices(&ObjectUri::from_path(&path), Partition::Count(2)).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn slices_become_input_and_files_become_outputs() {
    let folder = tempdir().unwrap();
    let slices = slices(folder.path());
    let script = "wc -l < {in:1} > {out:second}; test -d {scratch} && echo {arg:word} {{}} > {out:word}; wc -l";
    let command = CommandSpec {
        argv: words(&["sh", "-c", script]),
        stdin: Some(CommandInput::Slices),
        stdout: Some("all".into()),
        tool: None,
    };
    let FromWorker::Done { outputs, figures, result, .. } = run(folder.path(), command, json!({"word": "hello"}), slices) else {
        panic!("it failed");
    };
    let text = |name: &str| std::fs::read_to_string(outputs[name].uri.path().unwrap()).unwrap().trim().to_owned();
    assert_eq!((text("second"), text("all"), text("word")), ("200".into(), "400".into(), "hello {}".into()));
    assert!(result["program"].as_str().unwrap().ends_with("/sh"));
    assert!(figures.bytes_fetched > 0 && figures.bytes_written > 0 && figures.wall_s > 0.0, "{figures:?}");
    assert_eq!(figures.pid, std::process::id());
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    let folder = tempdir().unwrap();
    let cases = [
        (words(&["bwa-of-another-world"]), Cause::MissingTool, "missing tool: bwa-of-another-world"),
        (words(&["sh", "-c", "exit 3"]), Cause::Failed, "exit code 3"),
        (words(&["true", "{out:x}"]), Cause::Failed, "did not write its output `x`"),
        (words(&["cat", "{in:4}"]), Cause::Input, "slice 4, but the call has 0 slices"),
        (words(&["cat", "{nonsense}"]), Cause::Input, "unknown place `{nonsense}`"),
        (words(&["cat", "}{"]), Cause::Input, "unbalanced brace"),
        (words(&["cat", "{arg:x}"]), Cause::Input, "wants the argument `x`"),
        (words(&["cat", "{out:../x}"]), Cause::Input, "not the name of an output"),
        (words(&[]), Cause::Input, "the command line is empty"),
    ];
    for (argv, cause, text) in cases {
        let FromWorker::Failed { error, .. } =
            run(folder.path(), CommandSpec { argv: argv.clone(), ..CommandSpec::default() }, Value::Null, Vec::new())
        else {
            panic!("{argv:?} did not fail");
        };
        assert!(error.cause == cause && error.message.contains(text), "{argv:?}: {error}");
    }
}
