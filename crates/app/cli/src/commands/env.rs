use crate::args::EnvArgs;
use crate::platform::DataFolder;
use crate::settings::Settings;
use crate::{CliError, output};

/// `neardata env`: shell lines that point S3 clients and the SDK at the running platform.
pub(crate) fn run(args: &EnvArgs, as_json: bool) -> Result<(), CliError> {
    let flags: Vec<_> = args.data.as_deref().map(|data| ("data", data)).into_iter().collect();
    let folder = DataFolder::existing(Settings::load(&flags)?.data_folder());
    let shown = folder.path().display();
    let not_running = || {
        let flag = args.data.as_deref().map_or_else(String::new, |data| format!(" --data {data}"));
        CliError::Unavailable(format!("no platform is running on {shown}; start one with: neardata up{flag}"))
    };
    let running = folder.running().filter(|_| folder.is_in_use()).ok_or_else(not_running)?;
    let key = folder.root_key()?.filter(|key| key.fingerprint() == running.key).ok_or_else(|| {
        CliError::Unavailable(format!(
            "the platform on {shown} was started with NEARDATA_ACCESS_KEY and NEARDATA_SECRET_KEY; set the same two here"
        ))
    })?;
    let token = key.api_token();
    let variables = [
        ("AWS_ENDPOINT_URL", running.s3.as_str()),
        ("AWS_ACCESS_KEY_ID", &key.access_key),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_key),
        ("AWS_REGION", &running.region),
        ("AWS_DEFAULT_REGION", &running.region),
        ("NEARDATA_API", &running.api),
        ("NEARDATA_TOKEN", &token),
    ];
    if as_json {
        return output::json(&variables.into_iter().collect::<std::collections::BTreeMap<_, _>>());
    }
    for (name, value) in variables {
        output::line(format!("export {name}={}", shell_quoted(value)))?;
    }
    // A session token of other credentials would be sent along with our key, and refused.
    output::line("unset AWS_SESSION_TOKEN AWS_PROFILE")
}

fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::shell_quoted;

    #[test]
    fn what_a_shell_could_misread_is_quoted() {
        assert_eq!(shell_quoted("http://127.0.0.1:9000"), "http://127.0.0.1:9000");
        assert_eq!(shell_quoted("a'b $x"), r"'a'\''b $x'");
    }
}
