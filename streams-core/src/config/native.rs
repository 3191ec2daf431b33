//! The way of settings into librdkafka, which knows best what it takes.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::client::ClientSettings;
use super::fault::ConfigFault;
use super::value::is_secret;

impl ClientSettings {
    /// The settings as the rdkafka crate takes them. librdkafka logs at the level that the subscriber of `tracing` wants of
    /// target `librdkafka`.
    pub fn to_client_config(&self) -> ClientConfig {
        let settings = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut config: ClientConfig = settings.collect();
        config.set_log_level(log_level());
        config
    }
}

fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else if tracing::enabled!(target: "librdkafka", tracing::Level::INFO) {
        RDKafkaLogLevel::Info
    } else if tracing::enabled!(target: "librdkafka", tracing::Level::WARN) {
        RDKafkaLogLevel::Warning
    } else {
        RDKafkaLogLevel::Error
    }
}

/// What librdkafka says against one setting: an unknown name, a value out of range. `key` is the name that the user wrote.
pub(super) fn check(name: &str, value: &str, key: &str) -> Option<ConfigFault> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        // librdkafka quotes the value.
        Err(_) if is_secret(name) => Some(ConfigFault::new(key, "is not a value that librdkafka takes")),
        Err(KafkaError::ClientConfig(_, description, ..)) => {
            Some(ConfigFault::new(key, format!("refused by librdkafka: {description}")))
        }
        Err(error) => Some(ConfigFault::new(key, format!("refused by librdkafka: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_names::known_targets;
    use super::*;
    use crate::config::StreamsConfig;

    /// Guards the tables in `client_names.rs` against misspelt names: librdkafka tells an unknown name from a bad value.
    #[test]
    fn librdkafka_knows_every_name_that_settings_are_translated_to() {
        for name in known_targets() {
            let mut config = ClientConfig::new();
            config.set(name, "1");
            if let Err(error) = config.create_native_config() {
                assert!(!error.to_string().contains("No such configuration property"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn librdkafka_takes_the_settings_of_every_client() {
        let config = StreamsConfig::new("app", "localhost:9092");
        let all = [
            config.main_consumer("p", 8),
            config.restore_consumer("p", 1, 8),
            config.producer("p", 1),
            config.admin("p"),
        ];
        for settings in all {
            settings.unwrap().to_client_config().create_native_config().unwrap();
        }
    }

    #[test]
    fn values_that_librdkafka_refuses_are_faults_with_the_users_name() {
        let config = StreamsConfig::new("app", "localhost:9092")
            .set("producer.linger.ms", "soon")
            .set("consumer.fetch.max.wait.ms", "99999999")
            .set("compression.type", "middle-out");
        let error = config.validate().unwrap_err();
        let keys: Vec<&str> = error.faults().iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys[..2], ["compression.type", "consumer.fetch.max.wait.ms"], "{error}");
        assert!(keys.contains(&"producer.linger.ms"), "{error}");
    }
}
