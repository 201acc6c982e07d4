//! Listings in the order of the keys' bytes, inside a read transaction.

use rusqlite::{Connection, params};

use super::objects;
use super::sqlite::{Failure, bucket_id};
use super::uploads;
use crate::operation::{Cursor, ListObjects, ListUploads, ObjectInfo, ObjectPage, UploadInfo, UploadPage};

/// Rows fetched at once.
const STRETCH: usize = 1001;

/// Where a scan begins: at a key, or after it.
#[derive(Clone, Debug)]
enum From {
    At(String),
    After(String),
}

pub(super) fn objects(connection: &Connection, query: &ListObjects) -> Result<ObjectPage, Failure> {
    let bucket = bucket_id(connection, &query.bucket)?;
    let mut page = ObjectPage::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let end = prefix_end(&query.prefix);
    let Some(mut from) = first_position(query) else { return Ok(page) };
    let mut last: Option<Cursor> = None;
    loop {
        let wanted = (query.limit - page.objects.len() - page.prefixes.len() + 1).min(STRETCH);
        let rows = scan(connection, bucket, &from, end.as_deref(), wanted)?;
        let exhausted = rows.len() < wanted;
        let mut jumped = false;
        for object in rows {
            let rolled_up = rolled_up_prefix(&object.key, &query.prefix, query.delimiter.as_deref());
            if page.objects.len() + page.prefixes.len() == query.limit {
                page.next = last;
                return Ok(page);
            }
            let Some(prefix) = rolled_up else {
                from = From::After(object.key.clone());
                last = Some(Cursor::AfterKey(object.key.clone()));
                page.objects.push(object);
                continue;
            };
            last = Some(Cursor::AfterPrefix(prefix.clone()));
            let after_prefix = prefix_end(&prefix);
            page.prefixes.push(prefix);
            let Some(next) = after_prefix else { return Ok(page) };
            from = From::At(next);
            jumped = true;
            break;
        }
        if exhausted && !jumped {
            return Ok(page);
        }
    }
}

/// The first position at or after both the prefix and the cursor; absent when nothing can follow.
fn first_position(query: &ListObjects) -> Option<From> {
    let start = From::At(query.prefix.clone());
    let after = match &query.after {
        None => return Some(start),
        Some(Cursor::AfterKey(key)) => From::After(key.clone()),
        Some(Cursor::AfterPrefix(prefix)) => From::At(prefix_end(prefix)?),
    };
    let (From::At(key) | From::After(key)) = &after;
    Some(if key.as_bytes() >= query.prefix.as_bytes() { after } else { start })
}

/// The prefix that stands for this key in a listing with a delimiter.
fn rolled_up_prefix(key: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.strip_prefix(prefix)?;
    let found = rest.find(delimiter)?;
    Some(key[..prefix.len() + found + delimiter.len()].to_owned())
}

/// The least text that is greater than every text with this prefix; absent when there is none.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let successor = match last {
            char::MAX => None,
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(successor) = successor {
            characters.push(successor);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn scan(connection: &Connection, bucket: i64, from: &From, end: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, Failure> {
    let (comparison, key) = match from {
        From::At(key) => (">=", key),
        From::After(key) => (">", key),
    };
    let upper = if end.is_some() { "AND key < ?4" } else { "AND ?4 IS NULL" };
    let sql = format!(
        "SELECT {} FROM objects WHERE bucket = ?1 AND key {comparison} ?2 {upper} ORDER BY key LIMIT ?3",
        objects::INFO_COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![bucket, key, limit as i64, end], objects::info_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn uploads(connection: &Connection, query: &ListUploads) -> Result<UploadPage, Failure> {
    let bucket = bucket_id(connection, &query.bucket)?;
    let (after_key, after_upload) = query.after.clone().unwrap_or_default();
    let sql = format!(
        "SELECT {} FROM uploads WHERE bucket = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) AND (key, id) > (?4, ?5)
         ORDER BY key, id LIMIT ?6",
        uploads::INFO_COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let arguments = params![bucket, query.prefix, prefix_end(&query.prefix), after_key, after_upload, query.limit as i64 + 1];
    let mut uploads: Vec<UploadInfo> = statement.query_map(arguments, uploads::info_from_row)?.collect::<Result<_, _>>()?;
    let truncated = uploads.len() > query.limit;
    uploads.truncate(query.limit);
    Ok(UploadPage { uploads, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_least_greater_text() {
        assert_eq!(prefix_end("a/").as_deref(), Some("a0"));
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(prefix_end(""), None);
        assert_eq!(prefix_end("\u{10ffff}"), None);
    }

    #[test]
    fn keys_roll_up_to_the_first_delimiter_after_the_prefix() {
        assert_eq!(rolled_up_prefix("a/b/c", "", Some("/")).as_deref(), Some("a/"));
        assert_eq!(rolled_up_prefix("a/b/c", "a/", Some("/")).as_deref(), Some("a/b/"));
        assert_eq!(rolled_up_prefix("a/b", "a/", Some("/")), None);
        assert_eq!(rolled_up_prefix("a/b", "", None), None);
    }
}
