//! Which versions of requests the brokers know. librdkafka asks each broker and tells nobody but its log: so a client that does
//! nothing else is made, and what it logs about its first answer is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::error::ClientError;

/// By the number of the API, the highest version that every broker seen knows.
type Versions = BTreeMap<i16, i16>;

/// How long to read the log, at most, and at a time.
const READ_LOG: Duration = Duration::from_millis(500);
const READ_SLICE: Duration = Duration::from_millis(10);

/// Reads the lines that tell of versions; the others are not for the log of an application.
struct LogReader(Arc<Mutex<Versions>>);

impl ClientContext for LogReader {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        let told = (facility == "APIVERSION").then(|| parse(message)).flatten();
        if let Some((api, highest)) = told {
            self.0.lock().entry(api).and_modify(|known| *known = highest.min(*known)).or_insert(highest);
        }
    }
}

impl ConsumerContext for LogReader {}

/// `ApiKey <name> (<number>) Versions <lowest>..<highest>`, behind what names thread and broker.
fn parse(message: &str) -> Option<(i16, i16)> {
    let (_, api) = message.split_once("ApiKey ")?;
    let (api, versions) = api.split_once(") Versions ")?;
    let (_, number) = api.rsplit_once('(')?;
    let (_, highest) = versions.split_once("..")?;
    Some((number.parse().ok()?, highest.trim().parse().ok()?))
}

/// The highest version of an API that a broker knows; `None` when it has no such API, or the client did not tell. `config` is any
/// client's.
///
/// # Errors
/// When the client can't be made, or no broker answers within `timeout`.
pub(crate) fn highest_version(
    config: &ClientConfig,
    api: i16,
    timeout: Duration,
) -> Result<Option<i16>, ClientError> {
    let mut config = config.clone();
    config.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
    let found = Arc::new(Mutex::new(Versions::new()));
    let client: BaseConsumer<LogReader> =
        config.create_with_context(LogReader(found.clone())).map_err(ClientError::config)?;
    let answer = client.fetch_metadata(Some("__consumer_offsets"), timeout);
    answer.map_err(|source| ClientError::request("asking a broker what it knows", source))?;
    // Before it answered this it told its versions: they are among the lines that wait to be logged.
    let give_up = Instant::now() + READ_LOG;
    while !found.lock().contains_key(&api) && Instant::now() < give_up {
        // No record comes, nothing is subscribed to.
        let _ = client.poll(READ_SLICE);
    }
    let highest = found.lock().get(&api).copied();
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;

    /// What librdkafka logs is nobody's promise: a version that words it otherwise has to be noticed.
    #[test]
    fn versions_are_read_from_the_clients_log() {
        let cluster = MockCluster::new(2).unwrap();
        cluster.apiversion(RDKafkaApiKey::TxnOffsetCommit, Some(0), Some(2)).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let highest = |api| highest_version(&config, api, Duration::from_secs(30)).unwrap();
        assert_eq!(highest(28), Some(2));
        assert!(highest(22).is_some_and(|highest| highest >= 3));
        assert_eq!(highest(10_000), None);
        assert_eq!(parse("[thrd:x]: a:1/1:   ApiKey Unknown-99? (99) Versions 0..7"), Some((99, 7)));
        assert_eq!(parse("Feature MsgVer1: TxnOffsetCommit (0..3) supported by broker"), None);
    }
}
