use std::collections::BTreeMap;
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
    let mut limit = SystemTime::now() - parse_duration(older_than)?;
    let mut places = vec![Place { what: "indexes", prefix: settings.side_cars()?.root }];
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
    tokio::task::block_in_place(|| places.iter().try_for_each(|place| sweep(&stores, place, limit, dry_run, as_json)))
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
    let mut freed: BTreeMap<&str, u64> = BTreeMap::from([("objects", 0), ("bytes", 0)]);
    for listed in &old {
        if !dry_run {
            stores.delete(&listed.uri)?;
        }
        *freed.entry("objects").or_default() += 1;
        *freed.entry("bytes").or_default() += listed.size;
    }
    if as_json {
        return output::json(&serde_json::json!({"v": 1, "prefix": place.prefix, "dry_run": dry_run, "removed": freed}));
    }
    let verb = if dry_run { "would be removed" } else { "removed" };
    output::line(format!(
        "{} ({}): {} objects, {} {verb}",
        place.what,
        place.prefix,
        freed["objects"],
        format_bytes(freed["bytes"])
    ))
}
