//! What a run was asked for: environment variables, as `make chaos` sets them.

use std::fmt;
use std::time::Duration;

use crate::random::Random;
use crate::scenario::{self, Scenario};

/// `processing.guarantee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)] // that is what they are called
pub enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
    AtMostOnce,
}

impl Guarantee {
    const ALL: [Guarantee; 3] = [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce, Guarantee::AtMostOnce];

    /// Its value in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::AtLeastOnce => "at_least_once",
            Guarantee::ExactlyOnce => "exactly_once_v2",
            Guarantee::AtMostOnce => "at_most_once",
        }
    }

    pub fn named(name: &str) -> Option<Guarantee> {
        Guarantee::ALL.into_iter().find(|guarantee| guarantee.name() == name)
    }
}

/// What the applications run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    /// Apache Kafka, this many nodes.
    Apache(usize),
}

/// One episode's application.
#[derive(Clone, Copy)]
pub struct Plan {
    pub scenario: &'static dyn Scenario,
    pub guarantee: Guarantee,
}

/// A run.
pub struct Settings {
    /// The run of `make test`.
    pub short: bool,
    /// No episode begins after it.
    pub duration: Duration,
    /// Of the faults in one episode.
    pub episode: Duration,
    pub seed: u64,
    pub brokers: Kind,
    guarantees: Vec<Guarantee>,
    scenarios: Vec<&'static dyn Scenario>,
    /// Records per second.
    pub rate: u64,
    /// Names of the faults to use; empty means all.
    pub faults: Vec<String>,
    /// Go on after an episode with violations.
    pub go_on: bool,
    /// The word count on the JVM's Kafka Streams, in the workers' places.
    pub jvm: bool,
}

/// Of the faults of an episode in the short run, and in a long one.
const SHORT_EPISODE: Duration = Duration::from_secs(9);
const LONG_EPISODE: Duration = Duration::from_secs(45);

impl Settings {
    pub fn from_env() -> Result<Settings, String> {
        let given =
            |name: &str| std::env::var(format!("CHAOS_{name}")).ok().filter(|value| !value.trim().is_empty());
        let number = |name: &str, default: u64| {
            given(name).map_or(Ok(default), |text| {
                text.parse().map_err(|_| format!("{name}={text}: expected a number"))
            })
        };
        let short = given("SECONDS").is_none();
        let brokers = match given("BROKERS").as_deref() {
            None | Some("embedded") => Kind::Embedded,
            Some("1") => Kind::Apache(1),
            Some("3") => Kind::Apache(3),
            Some(other) => return Err(format!("BROKERS={other}: expected embedded, 1 or 3")),
        };
        let jvm = given("JVM").is_some();
        if jvm && (brokers == Kind::Embedded || given("SCENARIO").as_deref() != Some("words")) {
            return Err("JVM=1 is for BROKERS=1 or 3 and SCENARIO=words".to_owned());
        }
        let episode = if short { SHORT_EPISODE } else { LONG_EPISODE };
        Ok(Settings {
            short,
            duration: Duration::from_secs(number("SECONDS", 20)?),
            episode: Duration::from_secs(number("EPISODE", episode.as_secs())?),
            seed: number("SEED", fresh_seed())?,
            brokers,
            guarantees: guarantees(given("GUARANTEE"), short)?,
            scenarios: scenarios(given("SCENARIO"), short)?,
            rate: number("RATE", 400)?,
            faults: given("FAULTS")
                .map(|names| names.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            go_on: given("GO_ON").is_some(),
            jvm,
        })
    }

    /// The applications in their order, again and again (once in the short run).
    pub fn episodes(&self) -> Box<dyn Iterator<Item = Plan> + '_> {
        let all = self.scenarios.iter().flat_map(|scenario| {
            self.guarantees.iter().map(|guarantee| Plan { scenario: *scenario, guarantee: *guarantee })
        });
        if self.short { Box::new(all) } else { Box::new(all.cycle()) }
    }
}

/// All, unless some are named. The short run has what most applications run with, and the strictest.
fn guarantees(given: Option<String>, short: bool) -> Result<Vec<Guarantee>, String> {
    match given.as_deref() {
        None if short => Ok(vec![Guarantee::AtLeastOnce, Guarantee::ExactlyOnce]),
        None | Some("all") => Ok(Guarantee::ALL.to_vec()),
        Some(names) => names
            .split(',')
            .map(|name| {
                let known = Guarantee::ALL.map(Guarantee::name).join(", ");
                Guarantee::named(name)
                    .ok_or_else(|| format!("GUARANTEE={name}: expected all or some of {known}"))
            })
            .collect(),
    }
}

fn scenarios(given: Option<String>, short: bool) -> Result<Vec<&'static dyn Scenario>, String> {
    match given.as_deref() {
        None if short => Ok(scenario::ALL[..1].to_vec()),
        None | Some("all") => Ok(scenario::ALL.to_vec()),
        Some(names) => names
            .split(',')
            .map(|name| {
                let known: Vec<&str> = scenario::ALL.iter().map(|scenario| scenario.name()).collect();
                scenario::named(name)
                    .ok_or_else(|| format!("SCENARIO={name}: expected all or some of {}", known.join(", ")))
            })
            .collect(),
    }
}

fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed again.
    Random::new(since.as_secs()).below(1_000_000)
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers = match self.brokers {
            Kind::Embedded => "embedded".to_owned(),
            Kind::Apache(nodes) => nodes.to_string(),
        };
        let scenarios: Vec<&str> = self.scenarios.iter().map(|scenario| scenario.name()).collect();
        let guarantees: Vec<&str> = self.guarantees.iter().map(|guarantee| guarantee.name()).collect();
        write!(
            f,
            "{}SECONDS={} SEED={} BROKERS={brokers} GUARANTEE={} SCENARIO={}",
            if self.jvm { "JVM=1 " } else { "" },
            self.duration.as_secs(),
            self.seed,
            guarantees.join(","),
            scenarios.join(",")
        )
    }
}
