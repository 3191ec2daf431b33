//! What one setting is: its type, range and default, and how a value given as text is checked.

use super::ConfigError;

/// The type and range of a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer of at least `min`.
    Int { min: i32 },
    /// A 64-bit integer of at least `min`.
    Long { min: i64 },
    /// A number between 0 and 1.
    Ratio,
    /// One of the words given.
    Choice(&'static [&'static str]),
    /// A comma-separated list of the words given, possibly all of them.
    List(&'static [&'static str]),
}

/// One setting under Apache Kafka's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfigKey {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// Type and range.
    pub(crate) kind: Kind,
    /// Kafka's default, as text; empty where Kafka's default is null.
    pub(crate) default: &'static str,
    /// For a topic's setting: the broker's setting that is its default.
    pub(crate) synonym: Option<&'static str>,
    /// One sentence for `DescribeConfigs` and `--help`.
    pub(crate) doc: &'static str,
}

impl ConfigKey {
    /// Checks a value and brings it into its normal form (no surrounding blanks, booleans and choices in lower case).
    pub(crate) fn check(&self, value: &str) -> Result<String, ConfigError> {
        let text = value.trim();
        let invalid = |reason: String| ConfigError::Invalid {
            name: self.name.to_owned(),
            value: value.to_owned(),
            reason,
        };
        match self.kind {
            Kind::Bool => match text.to_ascii_lowercase() {
                word if word == "true" || word == "false" => Ok(word),
                _ => Err(invalid("expected true or false".to_owned())),
            },
            Kind::Int { min } => {
                let number: i32 = text.parse().map_err(|_| invalid("expected an integer".to_owned()))?;
                if number < min {
                    Err(invalid(format!("must be at least {min}")))
                } else {
                    Ok(number.to_string())
                }
            }
            Kind::Long { min } => {
                let number: i64 = text.parse().map_err(|_| invalid("expected an integer".to_owned()))?;
                if number < min {
                    Err(invalid(format!("must be at least {min}")))
                } else {
                    Ok(number.to_string())
                }
            }
            Kind::Ratio => match text.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(text.to_owned()),
                _ => Err(invalid("expected a number from 0 to 1".to_owned())),
            },
            Kind::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| (*word).to_owned())
                .ok_or_else(|| invalid(format!("expected one of {}", words.join(", ")))),
            Kind::List(words) => {
                let parts: Vec<&str> =
                    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
                if parts.is_empty() || parts.iter().any(|part| !words.contains(part)) {
                    return Err(invalid(format!("expected a list out of {}", words.join(", "))));
                }
                Ok(parts.join(","))
            }
        }
    }

    /// The type's number in `DescribeConfigs` (`ConfigDef.Type` in Apache Kafka's `ConfigEntry`).
    pub(crate) fn type_id(&self) -> i8 {
        match self.kind {
            Kind::Bool => 1,
            Kind::Choice(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Ratio => 6,
            Kind::List(_) => 7,
        }
    }
}
