//! The embedded broker in a process of its own: killed, and started again on its data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kstreams::embedded::fault::{ApiKey, Coordinator, Fault, Faults, ResponseError};
use kstreams::embedded::{BrokerConfig, EmbeddedBroker};

use super::{Brokers, Spoil};
use crate::process::{self, Process};
use crate::random::Random;

pub const ROLE: &str = "broker";

/// For a start with logs to check, on a busy machine.
const START: Duration = Duration::from_secs(60);

pub struct Embedded {
    dir: tempfile::TempDir,
    /// The same after each start.
    address: String,
    process: Option<Process>,
}

impl Embedded {
    pub fn start() -> Result<Embedded, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut broker = Embedded { dir, address: "127.0.0.1:0".to_owned(), process: None };
        broker.up()?;
        Ok(broker)
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }

    /// A broker that has been killed has no faults.
    fn say(&mut self, line: &str) {
        if let Some(process) = &mut self.process {
            process.say(line);
        }
    }
}

impl Brokers for Embedded {
    fn bootstrap(&self) -> String {
        self.address.clone()
    }

    fn worker_bootstrap(&self) -> String {
        self.address.clone()
    }

    fn replication(&self) -> i32 {
        1
    }

    fn kill(&mut self, _: &mut Random) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    fn up(&mut self) -> Result<(), String> {
        if self.process.is_some() {
            return Ok(());
        }
        let data = self.dir.path().join("data");
        let arguments = [data.to_str().unwrap().to_owned(), self.address.clone()];
        let process = Process::start(ROLE, &arguments, &self.log());
        self.address = process.wait_for("listening", START, |_| {}).map_err(|error| {
            format!("the embedded broker does not start: {error}; {}", self.log().display())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn is_whole(&mut self) -> bool {
        self.process.is_some()
    }

    fn has_network(&self) -> bool {
        true
    }

    fn cut(&mut self) {
        self.say("cut");
    }

    fn refuse(&mut self, yes: bool) {
        self.say(if yes { "disconnect" } else { "clear" });
    }

    fn delay(&mut self, by: Duration) {
        self.say(&format!("delay {}", by.as_millis()));
    }

    fn spoil(&mut self, spoil: Spoil) -> bool {
        match spoil {
            Spoil::LoseAnswers(times) => self.say(&format!("lose-answers {times}")),
            Spoil::Refuse { kind, times } => self.say(&format!("refuse {kind} {times}")),
            Spoil::LoseCoordinator { transactions: false } => self.say("lose-groups"),
            Spoil::LoseCoordinator { transactions: true } => self.say("lose-transactions"),
            Spoil::RestoreCoordinators => self.say("restore"),
        }
        true
    }

    fn keep_logs(&self, to: &Path) {
        // To look into what was found; without it there is less to look at.
        let _ = std::fs::copy(self.log(), to.join("broker.log"));
    }

    fn alive(&mut self) -> Result<(), String> {
        match self.process.as_mut().and_then(Process::ended) {
            Some(status) => Err(format!("the embedded broker ended by itself: {status}")),
            None => Ok(()),
        }
    }
}

/// The broker's process: says `listening ADDRESS`, and stays until it is killed.
pub fn run(arguments: &[String]) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::new("warn,kstreams_embedded_broker::group=info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let [data, address] = arguments else { panic!("a data directory and an address") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut commands = process::commands();
        let config = BrokerConfig::new().data_dir(data).listen(address.as_str());
        let config = config.set("group.min.session.timeout.ms", "1000").unwrap();
        let broker = match EmbeddedBroker::start(config).await {
            Ok(broker) => broker,
            Err(error) => {
                eprintln!("no broker: {error}: {:?}", std::error::Error::source(&error));
                return ExitCode::FAILURE;
            }
        };
        println!("listening {}", broker.bootstrap_servers());
        let faults = broker.faults();
        while let Some(command) = commands.recv().await {
            obey(&faults, &command);
        }
        ExitCode::SUCCESS
    })
}

/// Requests and errors that a client has to take in its stride.
const REFUSALS: [(ApiKey, ResponseError); 16] = [
    (ApiKey::Produce, ResponseError::NotEnoughReplicas),
    (ApiKey::Produce, ResponseError::NotLeaderOrFollower),
    (ApiKey::Fetch, ResponseError::NotLeaderOrFollower),
    (ApiKey::ListOffsets, ResponseError::NotLeaderOrFollower),
    (ApiKey::FindCoordinator, ResponseError::CoordinatorNotAvailable),
    (ApiKey::OffsetCommit, ResponseError::NotCoordinator),
    (ApiKey::OffsetCommit, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::OffsetFetch, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::Heartbeat, ResponseError::NotCoordinator),
    (ApiKey::JoinGroup, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::InitProducerId, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::AddPartitionsToTxn, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::AddPartitionsToTxn, ResponseError::ConcurrentTransactions),
    (ApiKey::AddOffsetsToTxn, ResponseError::NotCoordinator),
    (ApiKey::TxnOffsetCommit, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::EndTxn, ResponseError::NotCoordinator),
];

fn obey(faults: &Faults, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().unwrap();
    match words[..] {
        ["cut"] => drop(faults.cut_connections()),
        ["disconnect"] => drop(faults.inject(Fault::disconnect())),
        ["clear"] => faults.clear(),
        ["delay", ms] => drop(faults.inject(Fault::delay(Duration::from_millis(number(ms))))),
        ["lose-answers", times] => drop(faults.inject(Fault::lose_answer().times(number(times)))),
        ["refuse", kind, times] => {
            let (api, error) = REFUSALS[kind.parse::<usize>().unwrap() % REFUSALS.len()];
            drop(faults.inject(Fault::refuse(error).api(api).times(number(times))));
        }
        ["lose-groups"] => faults.lose_coordinator(Coordinator::Group),
        ["lose-transactions"] => faults.lose_coordinator(Coordinator::Transaction),
        ["restore"] => {
            for coordinator in [Coordinator::Group, Coordinator::Transaction] {
                faults.restore_coordinator(coordinator).unwrap();
            }
        }
        _ => panic!("no command {command}"),
    }
}
