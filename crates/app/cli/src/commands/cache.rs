use std::time::{Duration, SystemTime};

use neardata_core::{ObjectUri, format_bytes, parse_duration};
use neardata_store::{Listed, Stores};

use crate::settings::{Settings, platform_in_environment};
use crate::{CliError, output};

/// What `cache gc` looks at, and what it says of it.
struct Place {
    what: &'static str,
    prefix: ObjectUri,
}

/// `neardata cache gc`: removes side-cars and results of calls that were written longer ago than `older_than`. Both can be made again.
pub(crate) async fn gc(older_than: &str, outputs: &[String], dry_run: bool, as_json: bool) -> Result<(), CliError> {
    let settings = Settings::load(&[])?;
    let age = parse_duration(older_than)?;
    let mut limit = SystemTime::now() - age;
    let mut places = vec![Place { what: "indexes", prefix: settings.side_cars()?.root }];
    let of_the_sdk = settings.cache_folder().join("python-results");
    places.push(Place { what: "cached Python calls", prefix: ObjectUri::from_path(of_the_sdk) });
    if platform_in_environment() {
        places.push(Place { what: "results of calls", prefix: "s3://neardata-results".parse()? });
        // A running job still reads what its finished calls published.
        if let Some(created) = oldest_running_job().await? {
            limit = limit.min(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(created.max(0.0)));
        }
    }
    for text in outputs {
        places.push(Place { what: "results of calls", prefix: crate::settings::object_uri(text)?.join(".neardata") });
    }
    let stores = settings.stores()?;
    tokio::task::block_in_place(|| {
        places.iter().try_for_each(|place| sweep(&stores, place, limit, dry_run, as_json))?;
        let removed =
            neardata_variants::functions::remove_unused(age, dry_run).map_err(|error| CliError::io("node cache", &error))?;
        say("references and aligner indexes of this node", "node", (removed.entries, removed.bytes), dry_run, as_json)
    })
}

async fn oldest_running_job() -> Result<Option<f64>, CliError> {
    let jobs = super::jobs::client()?.jobs().await.map_err(super::jobs::client_error)?;
    let running = jobs.iter().filter(|job| !job.state.is_final()).map(|job| job.created);
    Ok(running.min_by(f64::total_cmp))
}

fn sweep(stores: &Stores, place: &Place, limit: SystemTime, dry_run: bool, as_json: bool) -> Result<(), CliError> {
    let mut old: Vec<Listed> = stores.list(&place.prefix)?.into_iter().filter(|listed| listed.modified < limit).collect();
    // Records first: a record must never outlive what it points at.
    old.sort_by_key(|listed| !listed.uri.key().contains("/calls/") && !listed.uri.key().starts_with("calls/"));
    let (mut objects, mut bytes) = (0, 0);
    for listed in &old {
        if !dry_run {
            stores.delete(&listed.uri)?;
        }
        objects += 1;
        bytes += listed.size;
    }
    say(place.what, &place.prefix.to_string(), (objects, bytes), dry_run, as_json)
}

fn say(what: &str, place: &str, (objects, bytes): (u64, u64), dry_run: bool, as_json: bool) -> Result<(), CliError> {
    if as_json {
        let removed = serde_json::json!({"objects": objects, "bytes": bytes});
        return output::json(&serde_json::json!({"v": 1, "what": what, "place": place, "dry_run": dry_run, "removed": removed}));
    }
    let verb = if dry_run { "would be removed" } else { "removed" };
    output::line(format!("{what} ({place}): {objects} objects, {} {verb}", format_bytes(bytes)))
}
