use crate::settings::Settings;
use crate::{CliError, output};

/// `neardata config show`.
pub(crate) fn show(as_json: bool) -> Result<(), CliError> {
    let settings = Settings::load(&[])?;
    if as_json {
        for (setting, value, origin) in settings.config.explain() {
            output::json(&serde_json::json!({
                "key": setting.key, "value": value, "origin": origin.to_string(), "environment": setting.env, "help": setting.help,
            }))?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = settings
        .config
        .explain()
        .map(|(setting, value, origin)| {
            let value = if value.is_empty() { "-" } else { value };
            vec![setting.key.to_owned(), value.to_owned(), origin.to_string(), setting.help.to_owned()]
        })
        .collect();
    output::line(format!("configuration file: {}", settings.file.display()))?;
    output::table(&["KEY", "VALUE", "FROM", "WHAT IT DOES"], &rows)
}
