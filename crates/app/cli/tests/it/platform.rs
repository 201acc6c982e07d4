//! `neardata up`: start-up, keys, refusal of a second one, clean stop, restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::{Platform, fail, neardata, run, small, succeed, text};

fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    write!(stream, "{request}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_platform_stops_cleanly_and_finds_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = Platform::start(folder.path());
    platform.upload("lab", &[(&small().reference(), "ref.fa")]);
    let secret = platform.variable("AWS_SECRET_ACCESS_KEY").to_owned();
    platform.signal("TERM");
    assert_eq!(platform.wait(), Some(0));
    let log = platform.log.lock().unwrap().clone();
    assert!(!log.contains(&secret), "the key was logged: {log}");
    assert!(log.contains("http://127.0.0.1:") && log.contains(platform.data.to_str().unwrap()), "start-up lines: {log}");
    let error = fail(neardata(folder.path()).arg("env").arg("--data").arg(&platform.data), 4);
    assert!(error.contains("neardata up"), "{error}");
    drop(platform);

    let again = Platform::start(folder.path());
    assert_eq!(again.variable("AWS_SECRET_ACCESS_KEY"), secret);
    let slice = text(succeed(again.neardata().args(["slice", "s3://lab/ref.fa", "--n", "1"])));
    let bytes = succeed(again.neardata().args(["read", slice.trim()]));
    assert!(bytes == std::fs::read(small().reference()).unwrap());
}

#[test]
fn the_key_is_private_and_the_environment_can_give_another() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let mode = std::fs::metadata(platform.data.join("root-key.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(platform);

    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("data")).unwrap();
    let mut up = neardata(other.path());
    up.args(["up", "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"]).arg(other.path().join("data"));
    up.env("NEARDATA_ACCESS_KEY", "lab");
    assert!(fail(&mut up, 2).contains("NEARDATA_SECRET_KEY"));
}

#[test]
fn a_second_platform_on_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let mut second = neardata(folder.path());
    second.args(["up", "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"]).arg(&platform.data);
    let error = fail(&mut second, 4);
    assert!(error.contains("in use") && error.contains("--data"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [["--s3", &address, "--api", "127.0.0.1:0"], ["--s3", "127.0.0.1:0", "--api", &address]] {
        let error = fail(neardata(folder.path()).arg("up").args(flags).arg("--data").arg(folder.path().join("data")), 4);
        assert!(error.contains(&address) && error.contains(if flags[1] == address { "--s3" } else { "--api" }), "{error}");
    }
}

#[test]
fn health_is_open_and_the_rest_needs_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let (api, token) = (platform.variable("NEARDATA_API"), platform.variable("NEARDATA_TOKEN"));
    let host = api.trim_start_matches("http://");
    let get = |path: &str, more: &str| http(api, &format!("GET {path} HTTP/1.1\r\nHost: {host}{more}"));
    assert!(get("/healthz", "").contains("\"status\":\"ok\""));
    assert!(get("/metrics", "").starts_with("HTTP/1.1 401"));
    let bearer = format!("\r\nAuthorization: Bearer {token}\r\nNearData-Protocol: 1");
    let metrics = get("/metrics", &bearer);
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("neardata_"), "{metrics}");
    assert!(get("/v1/jobs", &bearer.replace("Protocol: 1", "Protocol: 9")).starts_with("HTTP/1.1 426"));
    assert!(get("/v1/jobs", &format!("{bearer}\r\nOrigin: http://evil.example")).starts_with("HTTP/1.1 403"));
    let rebound = http(api, &format!("GET /v1/jobs HTTP/1.1\r\nHost: evil.example{bearer}"));
    assert!(rebound.starts_with("HTTP/1.1 403") || rebound.starts_with("HTTP/1.1 421"), "{rebound}");
}

#[test]
fn a_client_of_another_version_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let _request = connection.read(&mut request);
            let body = r#"{"v":1,"error":{"code":"protocol","message":"this service speaks protocol 2, the client 1","remedy":"use the same neardata on both sides"}}"#;
            let _gone = write!(
                connection,
                "HTTP/1.1 426 Upgrade Required\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let mut list = neardata(folder.path());
    list.args(["jobs", "list"]).env("NEARDATA_API", format!("http://{address}")).env("NEARDATA_TOKEN", "t");
    let error = fail(&mut list, 4);
    assert!(error.contains("protocol 2"), "{error}");
}

#[test]
fn configuration_explains_itself_and_shells_are_completed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "workers = 3\n").unwrap();
    let shown = text(succeed(
        neardata(folder.path()).args(["config", "show"]).env("NEARDATA_CONFIG", &file).env("NEARDATA_CALL_TIME", "20m"),
    ));
    assert!(shown.contains(&format!("file {}", file.display())) && shown.contains("environment NEARDATA_CALL_TIME"), "{shown}");
    std::fs::write(&file, "wrokers = 3\n").unwrap();
    let error = fail(neardata(folder.path()).args(["config", "show"]).env("NEARDATA_CONFIG", &file), 2);
    assert!(error.contains("wrokers") && error.contains("workers"), "{error}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(succeed(neardata(folder.path()).args(["completions", shell]))).contains("neardata"));
    }
    for command in ["up", "env", "slice", "read", "index", "inspect", "reproduce", "doctor"] {
        let help = text(run(neardata(folder.path()).args([command, "--help"])).stdout);
        assert!(help.contains("Example"), "{command}: {help}");
    }
}

#[test]
fn keys_from_the_environment_are_asked_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [("NEARDATA_ACCESS_KEY", "lab"), ("NEARDATA_SECRET_KEY", "a secret of the lab's own")];
    let data = folder.path().join("data");
    let mut up = neardata(folder.path());
    up.args(["up", "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"]).arg(&data).envs(keys);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let env = |keys: &[(&str, &str)]| run(neardata(folder.path()).args(["env", "--data"]).arg(&data).envs(keys.iter().copied()));
    let mut shown = env(&keys);
    for _ in 0..200 {
        if shown.status.success() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        shown = env(&keys);
    }
    let shown = text(shown.stdout);
    assert!(shown.contains("export AWS_ACCESS_KEY_ID=lab") && shown.contains("'a secret of the lab'\\''s own'"), "{shown}");
    for wrong in [&[][..], &[keys[0], ("NEARDATA_SECRET_KEY", "another secret, long enough")]] {
        let refused = env(wrong);
        assert_eq!(refused.status.code(), Some(4));
        let error = text(refused.stderr);
        assert!(error.contains("NEARDATA_ACCESS_KEY and NEARDATA_SECRET_KEY"), "{error}");
        assert_eq!(text(refused.stdout), "", "nothing is exported that would not work");
    }
    up.kill().unwrap();
    up.wait().unwrap();
}

#[test]
fn the_configuration_file_is_heeded() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let (file, cache) = (folder.path().join("c.toml"), folder.path().join("elsewhere"));
    let with = |text: String| {
        std::fs::write(&file, text).unwrap();
        let mut command = neardata(folder.path());
        command.env("NEARDATA_CONFIG", &file).env_remove("NEARDATA_CACHE");
        command
    };
    let mut slice = with(format!("cache = {:?}\n", cache.to_str().unwrap()));
    succeed(slice.arg("slice").arg(small().mate(1)).args(["--n", "2"]));
    assert!(cache.join("index").is_dir(), "the index went elsewhere than the configured cache");

    let mut slice = with("[http]\nca_file = \"/nowhere/authority.pem\"\n".to_owned());
    let error = fail(slice.args(["slice", "https://127.0.0.1:1/reads.fastq", "--n", "1"]), 1);
    assert!(error.contains("/nowhere/authority.pem"), "{error}");

    let mut slice = with(format!("[http]\nproxy = \"http://{}\"\n", proxy.local_addr().unwrap()));
    let mut slice = slice.args(["slice", "https://reads.example/a.fastq", "--n", "1"]).stderr(Stdio::null()).spawn().unwrap();
    let (connection, _) = proxy.accept().unwrap();
    let mut asked = String::new();
    BufReader::new(connection).read_line(&mut asked).unwrap();
    assert_eq!(asked.trim_end(), "CONNECT reads.example:443 HTTP/1.1");
    slice.kill().unwrap();
    slice.wait().unwrap();
}
