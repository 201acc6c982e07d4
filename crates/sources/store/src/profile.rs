//! The two INI files of the AWS command line: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Credentials;

/// What a profile says.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// Reads the profile that the environment selects; files that are not there say nothing.
pub(crate) fn load(variable: &impl Fn(&str) -> Option<String>) -> Profile {
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let file = |variable_name: &str, default: &str| {
        let path = variable(variable_name).map_or_else(|| home.join(".aws").join(default), PathBuf::from);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let mut values = section(&file("AWS_CONFIG_FILE", "config"), &[&format!("profile {name}"), &name]);
    values.extend(section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &[&name]));
    let credentials =
        values.remove("aws_access_key_id").zip(values.remove("aws_secret_access_key")).map(|(access_key, secret_key)| {
            Credentials { access_key, secret_key, session_token: values.remove("aws_session_token") }
        });
    Profile { credentials, region: values.remove("region"), endpoint: values.remove("endpoint_url") }
}

fn section(text: &str, names: &[&str]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(header) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = names.contains(&header.trim());
        } else if inside
            && !trimmed.starts_with(['#', ';'])
            // Indented lines are nested settings (`s3 =` blocks), which say nothing we use.
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once('=')
        {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn only_the_named_section_is_read() {
        let text = "[default]\nregion = a\n[profile lab]\n# note\nregion=b\ns3 =\n  region = nested\n";
        assert_eq!(section(text, &["profile lab"]).get("region").map(String::as_str), Some("b"));
        assert_eq!(section(text, &["default"]).get("region").map(String::as_str), Some("a"));
        assert!(section(text, &["absent"]).is_empty());
    }
}
