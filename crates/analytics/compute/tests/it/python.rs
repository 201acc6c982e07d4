//! Python calls, through the engine and through its service.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use neardata_compute::python::PythonRequest;
use neardata_compute::{CallEvent, CallState, Engine, Event, EventKind, JobId, JobState};
use neardata_functions::{Cause, python};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::engine;

/// Runs a Python program that has the vendored cloudpickle, and gives its output as JSON.
fn python(program: &str, input: &Value) -> Value {
    let folder = tempdir().unwrap();
    python::install(folder.path()).unwrap();
    let prelude = "import sys, json, base64\nsys.path.append(sys.argv[1])\nimport cloudpickle, pickle\n\
                   enc = lambda o: base64.b64encode(cloudpickle.dumps(o)).decode()\n\
                   dec = lambda t: pickle.loads(base64.b64decode(t))\n\
                   given = json.loads(sys.argv[2])\n";
    let output = Command::new("python3")
        .args(["-c", &format!("{prelude}{program}")])
        .arg(folder.path().join("vendor"))
        .arg(input.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The request for `function` (defined by `code`) over `items`, each one argument.
fn request(code: &str, items: &Value, options: Value) -> PythonRequest {
    let program = format!(
        "{code}\nprint(json.dumps([enc(function), [enc(((item,), {{}})) for item in given], sys.executable, \
         [p for p in sys.path if p and 'vendor' not in p]]))"
    );
    let made = python(&program, items);
    serde_json::from_value(json!({
        "v": 1, "name": "map", "calls": made[1], "options": options,
        "python": {"interpreter": made[2], "path": made[3], "function": made[0]},
    }))
    .unwrap()
}

async fn finished(engine: &Engine, id: &JobId) -> Vec<Event> {
    engine.events(id, 0).await.unwrap().collect().await
}

fn calls(events: &[Event]) -> impl Iterator<Item = &CallEvent> {
    events.iter().filter_map(|event| match &event.kind {
        EventKind::Call(call) => Some(call),
        _ => None,
    })
}

/// The values by call, read by Python.
fn values(events: &[Event]) -> Value {
    let mut ended: Vec<_> = calls(events).filter(|call| matches!(call.state, CallState::Done | CallState::Reused)).collect();
    ended.sort_by_key(|call| call.call);
    let texts: Vec<_> = ended.iter().map(|call| call.value.clone().unwrap()).collect();
    python("print(json.dumps([dec(text) for text in given]))", &json!(texts))
}

fn state(events: &[Event]) -> JobState {
    match &events.last().unwrap().kind {
        EventKind::Job { state, .. } => *state,
        other => panic!("{other:?}"),
    }
}

fn failures(events: &[Event]) -> Vec<(u64, CallState, Cause)> {
    calls(events).filter_map(|call| Some((call.call, call.state, call.error.as_ref()?.cause))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closures_run_and_their_exceptions_come_back_with_a_traceback() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "
offset = 100
class Odd(Exception): pass
def function(x):
    print('working on', x)
    if x == 3:
        raise Odd('three')
    return (lambda y: y + offset)(x)";
    let id = engine.submit_python(request(code, &json!([1, 2, 3, 4]), json!({}))).await.unwrap();
    let events = finished(&engine, &id).await;
    assert_eq!(values(&events), json!([101, 102, 104]));
    assert_eq!(state(&events), JobState::Failed);
    let failed = calls(&events).find(|call| call.state == CallState::Failed).unwrap();
    let error = failed.error.as_ref().unwrap();
    assert_eq!((failed.call, error.cause, error.message.as_str()), (2, Cause::Exception, "Odd: three"));
    let traceback = error.traceback.as_ref().unwrap();
    assert!(traceback.contains("in function") && !traceback.contains("neardata_worker"), "{traceback}");
    assert_eq!(python("print(json.dumps(repr(dec(given))))", &json!(error.pickle)), "Odd('three')");
    let log = engine.logs(&id).await.unwrap();
    assert!(log.contains("[map 3] working on 4"), "{log}");
    // Those who come late see the same.
    assert_eq!(finished(&engine, &id).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_on_warm_workers() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import os, time\n    return [x, os.getpid(), time.time()]";
    let items: Vec<u64> = (0..1000).collect();
    let request = request(code, &json!(items), json!({}));
    let id = engine.submit_python(request.clone()).await.unwrap();
    finished(&engine, &id).await;
    let begun = Instant::now();
    let id = engine.submit_python(request).await.unwrap();
    let events = finished(&engine, &id).await;
    let took = begun.elapsed();
    println!("1000 calls in {took:?}");
    let values = values(&events);
    let values = values.as_array().unwrap();
    assert!(values.iter().map(|value| value[0].as_u64().unwrap()).eq(0..1000));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_take_their_time_spread_over_the_workers() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import os, time\n    time.sleep(0.02)\n    return [x, os.getpid()]";
    let items: Vec<u64> = (0..60).collect();
    let id = engine.submit_python(request(code, &json!(items), json!({}))).await.unwrap();
    let values = values(&finished(&engine, &id).await);
    let pids: std::collections::BTreeSet<_> = values.as_array().unwrap().iter().map(|value| value[1].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2, "the work did not spread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_call_says_so_and_only_it_is_tried_again() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let marks = folder.path().join("marks");
    let code = format!(
        "path = {marks:?}
def function(x):
    import os, signal
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, b'%d\\n' % x)
    os.close(descriptor)
    if x == 7 and open(path).read().split().count('7') <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x"
    );
    let items: Vec<u64> = (0..40).collect();
    let id = engine.submit_python(request(&code, &json!(items), json!({"retries": 2}))).await.unwrap();
    let events = finished(&engine, &id).await;
    assert_eq!(values(&events), json!(items));
    assert_eq!(failures(&events), [(7, CallState::Retried, Cause::Killed); 2]);
    let marks = std::fs::read_to_string(marks).unwrap();
    assert_eq!(marks.lines().count(), 42, "a call ran twice without need");

    let code = "def function(x):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)";
    let id = engine.submit_python(request(code, &json!([1]), json!({}))).await.unwrap();
    let events = finished(&engine, &id).await;
    let failed = calls(&events).last().unwrap();
    let error = failed.error.as_ref().unwrap();
    assert!(error.cause == Cause::Killed && error.message.contains("SIGKILL"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_cancellation_end_a_call_and_nothing_else() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import time\n    time.sleep(x)\n    return x";
    let begun = Instant::now();
    let id = engine.submit_python(request(code, &json!([0, 30, 0.01]), json!({"time_s": 0.3}))).await.unwrap();
    let events = finished(&engine, &id).await;
    assert_eq!(failures(&events), [(1, CallState::Failed, Cause::Timeout)]);
    assert_eq!(values(&events), json!([0, 0.01]));

    let code =
        "def function(x):\n    import time\n    data = bytearray(b'x') * (x << 20)\n    time.sleep(0.3)\n    return len(data)";
    let id = engine.submit_python(request(code, &json!([1, 400]), json!({"memory": 200 << 20}))).await.unwrap();
    let events = finished(&engine, &id).await;
    assert_eq!(failures(&events), [(1, CallState::Failed, Cause::Memory)]);
    assert_eq!(values(&events), json!([1 << 20]));

    // A running one, one that is queued behind it on a worker, and one that waits.
    let code = "def function(x):\n    import time\n    time.sleep(x)\n    return x";
    let mut items = vec![json!(30), json!(30)];
    items.resize(8, json!(0.05));
    let id = engine.submit_python(request(code, &json!(items), json!({}))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    engine.cancel_calls(&id, &[0, 1, 7]).await.unwrap();
    let events = finished(&engine, &id).await;
    let cancelled: Vec<_> = calls(&events).filter(|call| call.state == CallState::Cancelled).map(|call| call.call).collect();
    assert_eq!(cancelled.len(), 3, "{cancelled:?}");
    assert_eq!(values(&events), json!([0.05, 0.05, 0.05, 0.05, 0.05]));

    let id = engine.submit_python(request(code, &json!([30, 30, 30]), json!({}))).await.unwrap();
    engine.cancel(&id).await.unwrap();
    let events = finished(&engine, &id).await;
    assert_eq!(state(&events), JobState::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_call_does_not_hold_up_those_behind_it() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import time\n    time.sleep(x)\n    return x";
    let mut items = vec![json!(1.5)];
    items.resize(30, json!(0.01));
    let request = request(code, &json!(items), json!({}));
    let id = engine.submit_python(request).await.unwrap();
    let events = finished(&engine, &id).await;
    let done: Vec<_> = calls(&events).filter(|call| call.state == CallState::Done).map(|call| call.call).collect();
    assert_eq!((done.len(), done[29]), (30, 0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_calls_run_once_and_large_values_are_objects() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import time\n    return [x, time.time_ns()]";
    let options = json!({"cached": ["aa", "bb"]});
    let request_both = request(code, &json!([1, 2]), options);
    let first = engine.submit_python(request_both.clone()).await.unwrap();
    let first = values(&finished(&engine, &first).await);
    let second = engine.submit_python(request_both).await.unwrap();
    let events = finished(&engine, &second).await;
    assert!(calls(&events).all(|call| call.state == CallState::Reused));
    assert_eq!(values(&events), first);

    let code = "def function(x):\n    return b'z' * 200000";
    let id = engine.submit_python(request(code, &json!([1]), json!({}))).await.unwrap();
    let events = finished(&engine, &id).await;
    let uri = calls(&events).last().unwrap().value_uri.clone().unwrap();
    assert!(std::fs::metadata(uri.path().unwrap()).unwrap().len() > 200_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_see_a_scrubbed_environment() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo sets it, and nobody else wants it");
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let code = "def function(x):\n    import os\n    return sorted(os.environ)";
    let id = engine.submit_python(request(code, &json!([1]), json!({}))).await.unwrap();
    let names = values(&finished(&engine, &id).await);
    let names: Vec<_> = names[0].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.contains(&"PATH"));
    assert!(!names.iter().any(|name| name.starts_with("CARGO") || name.starts_with("NEARDATA_WORKER")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_is_told_at_once() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let mut bad = request("def function(x): return x", &json!([1]), json!({}));
    bad.python.interpreter = Path::new("/nowhere/python3").to_owned();
    assert!(engine.submit_python(bad.clone()).await.unwrap_err().to_string().contains("/nowhere/python3"));
    bad.python.interpreter = "/bin/false".into();
    let id = engine.submit_python(bad).await.unwrap();
    let events = finished(&engine, &id).await;
    let message = &calls(&events).last().unwrap().error.as_ref().unwrap().message;
    assert!(message.contains("exit code 1 before it said hello"), "{message}");
    let code = "import types\nmodule = types.ModuleType('gone')\nexec('def function(x): return x', module.__dict__)\n\
                sys.modules['gone'] = module\nfunction = module.function\nfunction.__module__ = 'gone'";
    let id = engine.submit_python(request(code, &json!([1]), json!({}))).await.unwrap();
    let events = finished(&engine, &id).await;
    let message = &calls(&events).last().unwrap().error.as_ref().unwrap().message;
    assert!(message.contains("No module named 'gone'"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_job_gives_way_to_another_job() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let code = "def function(x):\n    import time\n    time.sleep(0.02)\n    return x";
    let items: Vec<u64> = (0..400).collect();
    let long = engine.submit_python(request(code, &json!(items), json!({}))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    let probes = crate::support::probes(3, neardata_compute::conformance::ProbeArguments::default());
    let view =
        crate::support::run(&engine, neardata_compute::conformance::ProbesArguments { probes, ..Default::default() }).await;
    crate::support::results(&view);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(engine.job(&long).await.unwrap().summary.state, JobState::Running);
    assert_eq!(values(&finished(&engine, &long).await), json!(items));
}
