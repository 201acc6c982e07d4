use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use neardata_functions::{CallError, Cause};
use tempfile::tempdir;

use crate::call;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn what_it_used_counts_for_the_call() {
    let folder = tempdir().unwrap();
    let call = call(folder.path(), Vec::new());
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; printf done";
    assert_eq!(call.child(shell(busy), "busy").capture(100).unwrap(), b"done");
    let figures = call.figures();
    assert!(figures.child_cpu_s > 0.01 && figures.child_cpu_s < 10.0, "{}", figures.child_cpu_s);
    assert!(figures.peak_rss > 100_000);
}

#[test]
fn input_and_output_flow_at_once() {
    let folder = tempdir().unwrap();
    let call = call(folder.path(), Vec::new());
    let block = vec![b'x'; 1 << 20];
    let feed = |stdin: &mut dyn Write| (0..20).try_for_each(|_| stdin.write_all(&block)).map_err(CallError::from);
    let (_, length) = call
        .child(Command::new("cat"), "copy")
        .stdin_from(feed)
        .read_stdout(|stdout| Ok(std::io::copy(stdout, &mut std::io::sink())?))
        .unwrap();
    assert_eq!(length, 20 << 20);

    // A child that does not want all of it is fine.
    let endless = |stdin: &mut dyn Write| loop {
        stdin.write_all(&block)?;
    };
    assert_eq!(call.child(shell("head -c 3"), "head").stdin_from(endless).capture(10).unwrap(), b"xxx");
    // A feeder that fails is not.
    let error = call
        .child(shell("cat > /dev/null"), "eater")
        .stdin_from(|_| Err(CallError::input("line 7 is broken")))
        .run()
        .unwrap_err();
    assert!(error.permanent && error.message.contains("line 7 is broken"), "{error}");
}

#[test]
fn failures_name_command_code_and_last_words() {
    let folder = tempdir().unwrap();
    let call = call(folder.path(), Vec::new());
    let error = call.child(shell("echo one >&2; echo 'the last word' >&2; exit 3"), "stage").run().unwrap_err();
    assert_eq!((error.cause, error.permanent), (Cause::Failed, false));
    for part in ["stage: ", "sh -c ", "exit code 3", "the last word"] {
        assert!(error.message.contains(part), "{error}");
    }
    let error = call.child(shell("kill -9 $$"), "stage").run().unwrap_err();
    assert!(error.cause == Cause::Killed && error.message.contains("SIGKILL"), "{error}");
    let error = call.child(Command::new("no-such-tool"), "stage").run().unwrap_err();
    assert!(error.cause == Cause::MissingTool && error.permanent && error.message.contains("no-such-tool"), "{error}");
    let full = call.child(shell("dd if=/dev/zero of=/dev/full bs=10 count=1"), "stage").run().unwrap_err();
    assert!(full.cause == Cause::DiskFull && full.message.starts_with("disk full"), "{full}");
    let error = call.child(shell("yes"), "stage").capture(1000).unwrap_err();
    assert!(error.message.contains("more than 1000 bytes"), "{error}");
    // The reader's complaint is the child's fault when the child failed first.
    let read = |stdout: &mut dyn Read| {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes)?;
        Err::<(), _>(CallError::failed("too short"))
    };
    let error = call.child(shell("exit 4"), "stage").read_stdout(read).unwrap_err();
    assert!(error.message.contains("exit code 4"), "{error}");
}

#[test]
fn cancel_kills_the_child_and_what_it_started() {
    let folder = tempdir().unwrap();
    let call = call(folder.path(), Vec::new());
    let canceller = call.clone();
    let begun = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        canceller.cancel();
    });
    let error = call.child(shell("sleep 50 & sleep 50; wait"), "sleeper").run().unwrap_err();
    assert_eq!(error.cause, Cause::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(call.child(shell("true"), "later").run().unwrap_err().cause, Cause::Cancelled);
    assert_eq!(call.publish("late", "x".into()).unwrap_err().cause, Cause::Cancelled);
}

#[test]
fn shared_values_are_built_once_and_failures_are_not_kept() {
    let folder = tempdir().unwrap();
    let call = call(folder.path(), Vec::new());
    assert!(call.shared::<u32>("k", || Err(CallError::failed("not yet"))).is_err());
    let built = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let value = call.shared("k", || {
                    std::thread::sleep(Duration::from_millis(50));
                    Ok(built.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 7)
                });
                assert_eq!(*value.unwrap(), 7);
            });
        }
    });
    assert!(call.shared::<String>("k", || Ok(String::new())).unwrap_err().message.contains("another type"));
}
