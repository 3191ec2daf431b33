//! The embedded broker in a process of its own: killed, and started again on its data.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};

use super::Brokers;
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

    fn has_network(&self) -> bool {
        false
    }

    fn cut(&mut self) {}

    fn refuse(&mut self, _yes: bool) {}

    fn delay(&mut self, _by: Duration) {}

    fn alive(&mut self) -> Result<(), String> {
        match self.process.as_mut().and_then(Process::ended) {
            Some(status) => Err(format!("the embedded broker ended by itself: {status}")),
            None => Ok(()),
        }
    }
}

/// The broker's process: says `listening ADDRESS`, and stays until it is killed.
pub fn run(arguments: &[String]) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::new("warn");
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
        match commands.recv().await {
            Some(command) => panic!("no command {command}"),
            None => ExitCode::SUCCESS,
        }
    })
}
