use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use neardata_core::{ObjectUri, format_bytes, parse_duration};
use neardata_store::{Listed, Stores};

use crate::settings::{Settings, output_uri, platform_in_environment};
use crate::{CliError, output};

/// How `cache gc` was asked to go about it.
struct Sweep {
    stores: Stores,
    /// What was written before this goes.
    limit: SystemTime,
    dry_run: bool,
    as_json: bool,
}

/// `neardata cache gc`: removes side-cars and results of calls that were written longer ago than `older_than`, and references and
/// aligner indexes of this node that were not used for so long. All of it can be made again. What a running job may still read stays.
pub(crate) async fn gc(older_than: &str, outputs: &[String], dry_run: bool, as_json: bool) -> Result<(), CliError> {
    let settings = Settings::load(&[])?;
    let age = parse_duration(older_than)?;
    let limit = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let sweep = Sweep { stores: settings.stores()?, limit, dry_run, as_json };
    // Finished calls of any age may answer for a running job.
    let platform_idle = platform_in_environment() && !job_is_running().await?;
    tokio::task::block_in_place(|| {
        sweep.everything("indexes", &settings.side_cars()?.root)?;
        sweep.calls("cached Python calls", &ObjectUri::from_path(settings.cache_folder().join("python-results")))?;
        if platform_idle {
            sweep.calls("results of calls", &"s3://neardata-results".parse()?)?;
        } else if platform_in_environment() {
            eprintln_note("results of calls are left alone: a job is running on the platform");
        }
        for text in outputs {
            let results = output_uri(text)?.join(".neardata");
            let _held = hold_engine(&results, &settings)?;
            sweep.calls("results of calls", &results)?;
        }
        let removed =
            neardata_variants::functions::remove_unused(age, dry_run).map_err(|error| CliError::io("node cache", &error))?;
        sweep.say("references and aligner indexes", "this node", (removed.entries, removed.bytes))
    })
}

async fn job_is_running() -> Result<bool, CliError> {
    let jobs = super::jobs::client()?.jobs().await.map_err(super::jobs::client_error)?;
    Ok(jobs.iter().any(|job| !job.state.is_final()))
}

/// Holds the lock of the private engine of these results, so that no run begins while they are swept; one under way refuses us.
fn hold_engine(results: &ObjectUri, settings: &Settings) -> Result<Option<File>, CliError> {
    let path = super::private::engine_folder(results, settings).join("lock");
    let Ok(file) = File::open(&path) else { return Ok(None) };
    let in_use = |path: &Path| {
        CliError::Unavailable(format!("a run is under way there ({} is held); wait for it, or stop it", path.display()))
    };
    file.try_lock().map_err(|_| in_use(&path))?;
    Ok(Some(file))
}

impl Sweep {
    /// Whatever lies below a prefix and is old.
    fn everything(&self, what: &str, prefix: &ObjectUri) -> Result<(), CliError> {
        let old: Vec<Listed> = self.stores.list(prefix)?.into_iter().filter(|listed| listed.modified < self.limit).collect();
        self.remove(what, prefix, &old)
    }

    /// Records of calls that are old, and then outputs that no record is left for: a record never outlives what it points at.
    fn calls(&self, what: &str, prefix: &ObjectUri) -> Result<(), CliError> {
        let records = self.stores.list(&prefix.join("calls"))?;
        let (mut old, young): (Vec<Listed>, Vec<Listed>) = records.into_iter().partition(|listed| listed.modified < self.limit);
        let kept: HashSet<&str> = young.iter().map(|listed| listed.uri.name().trim_end_matches(".json")).collect();
        let data = prefix.join("data");
        let below = format!("{}/", data.key());
        let is_old = |listed: &Listed| {
            let key = listed.uri.key().strip_prefix(&below).and_then(|rest| rest.split('/').next());
            listed.modified < self.limit && key.is_some_and(|key| !kept.contains(key))
        };
        old.extend(self.stores.list(&data)?.into_iter().filter(is_old));
        self.remove(what, prefix, &old)
    }

    fn remove(&self, what: &str, prefix: &ObjectUri, old: &[Listed]) -> Result<(), CliError> {
        if !self.dry_run {
            old.iter().try_for_each(|listed| self.stores.delete(&listed.uri))?;
        }
        self.say(what, &prefix.to_string(), (old.len() as u64, old.iter().map(|listed| listed.size).sum()))
    }

    fn say(&self, what: &str, place: &str, (objects, bytes): (u64, u64)) -> Result<(), CliError> {
        if self.as_json {
            let removed = serde_json::json!({"objects": objects, "bytes": bytes});
            return output::json(
                &serde_json::json!({"v": 1, "what": what, "place": place, "dry_run": self.dry_run, "removed": removed}),
            );
        }
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        output::line(format!("{what} ({place}): {objects} objects, {} {verb}", format_bytes(bytes)))
    }
}

fn eprintln_note(text: &str) {
    use std::io::Write;
    let _nobody_listens = writeln!(std::io::stderr().lock(), "{text}");
}
