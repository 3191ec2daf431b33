//! Each store against its changelog: the workers say what they have, the changelog is read plainly.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::reader;
use crate::pool::Pool;
use crate::report::Report;
use crate::scenario::{Names, Row, Scenario, Store, StoreKind};

/// For tasks to move, and to be restored.
const LIMIT: Duration = Duration::from_secs(90);
const ANSWER: Duration = Duration::from_secs(20);

/// Entries of one store: key and value as text.
type Entries = BTreeMap<String, String>;

/// Compares until they agree; the last difference if they never do. Both are read again each time: what was committed as processed
/// is written by then, except at most once, where offsets are committed before their records are processed.
pub fn stores_equal_changelogs(
    scenario: &dyn Scenario,
    names: &Names,
    bootstrap: &str,
    pool: &mut Pool,
    dir: &Path,
    report: &mut Report,
) -> Result<usize, String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut expected = BTreeMap::new();
        for store in scenario.stores() {
            expected.insert(store.name, changelog(*store, names, bootstrap)?);
        }
        let found = dump(pool, dir).and_then(|found| compare(scenario, &expected, found));
        match found {
            Ok(()) => return Ok(expected.values().map(BTreeMap::len).sum()),
            Err(why) if Instant::now() > deadline => return Err(why),
            Err(_) => {
                pool.reap(report).into_iter().for_each(|slot| pool.start(slot));
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// What all running workers have together.
fn dump(pool: &mut Pool, dir: &Path) -> Result<BTreeMap<String, Entries>, String> {
    let mut stores: BTreeMap<String, Entries> = BTreeMap::new();
    let file = dir.join("dump");
    for slot in pool.running() {
        let answer = pool.ask(slot, &format!("dump {}", file.display()), "dump", ANSWER);
        if answer.as_deref() != Ok("ok") {
            return Err(format!("worker {slot} doesn't say what it stores: {answer:?}"));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        for line in text.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            let [store, key, value] = parts[..] else { return Err(format!("what is {line}?")) };
            let before = stores.entry(store.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
            if before.is_some() {
                return Err(format!("two workers have {key} in store {store}"));
            }
        }
    }
    Ok(stores)
}

/// The latest value of each key.
fn changelog(store: Store, names: &Names, bootstrap: &str) -> Result<Entries, String> {
    let rows = reader::read(bootstrap, &names.changelog(store.name), true)?;
    let mut entries = Entries::new();
    for row in &rows {
        let key = match store.kind {
            StoreKind::Windows { .. } => window_key(row)?,
            _ => row.key.clone(),
        };
        match &row.value {
            None => entries.remove(&key),
            Some(_) if store.kind == StoreKind::Table => entries.insert(key, row.text().to_owned()),
            Some(_) => entries.insert(key, row.number().to_string()),
        };
    }
    Ok(entries)
}

/// Key, start of the window, and a sequence number.
fn window_key(row: &Row) -> Result<String, String> {
    let bytes = &row.raw_key;
    let at = bytes.len().checked_sub(12).ok_or("a key that is too short for a window")?;
    let start = i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    Ok(format!("{}@{start}", String::from_utf8_lossy(&bytes[..at])))
}

fn compare(
    scenario: &dyn Scenario,
    expected: &BTreeMap<&str, Entries>,
    mut found: BTreeMap<String, Entries>,
) -> Result<(), String> {
    for store in scenario.stores() {
        let mut expected = expected[store.name].clone();
        let mut found = found.remove(store.name).unwrap_or_default();
        if let StoreKind::Windows { kept_ms } = store.kind {
            let latest = expected.keys().filter_map(|key| start(key)).max().unwrap_or(0);
            expected.retain(|key, _| start(key) > Some(latest - kept_ms));
            found.retain(|key, _| start(key) > Some(latest - kept_ms));
        }
        let all: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        let differ: Vec<String> = all
            .into_iter()
            .filter(|key| expected.get(*key) != found.get(*key))
            .map(|key| format!("{key}: {:?} instead of {:?}", found.get(key), expected.get(key)))
            .collect();
        if !differ.is_empty() {
            let some = differ[..differ.len().min(3)].join("; ");
            return Err(format!(
                "store {} is not its changelog, {} entries differ: {some}",
                store.name,
                differ.len()
            ));
        }
    }
    Ok(())
}

fn start(key: &str) -> Option<i64> {
    key.rsplit_once('@')?.1.parse().ok()
}
