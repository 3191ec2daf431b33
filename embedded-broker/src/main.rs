//! The program: a broker from the command line, stopped cleanly by SIGTERM or SIGINT.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kstreams_embedded_broker::{BrokerConfig, BrokerError, EmbeddedBroker};
use tracing_subscriber::EnvFilter;

/// A single-node broker that speaks the Kafka protocol.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Directory for topics and offsets; without it they are temporary and deleted at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,

    /// Partitions of topics created without a number (same as --config num.partitions=N).
    #[arg(long, value_name = "N")]
    default_partitions: Option<u32>,

    /// One of Apache Kafka's broker settings, for example log.retention.ms=60000; can be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE")]
    configs: Vec<String>,
}

fn main() -> ExitCode {
    // Logs go to stderr: stdout carries the one line that scripts read, the address.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded-broker: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = configure(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(serve(config))?)
}

fn configure(arguments: Arguments) -> Result<BrokerConfig, Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::new().listen(arguments.listen);
    if let Some(dir) = arguments.data_dir {
        config = config.data_dir(dir);
    }
    if let Some(partitions) = arguments.default_partitions {
        config = config.set("num.partitions", &partitions.to_string())?;
    }
    for setting in &arguments.configs {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| format!("--config {setting}: expected KEY=VALUE"))?;
        config = config.set(key, value)?;
    }
    Ok(config)
}

async fn serve(config: BrokerConfig) -> Result<(), BrokerError> {
    // Before anybody can know that the broker runs: a signal that came earlier would kill it without a clean stop.
    let signal = stop_signal();
    let broker = EmbeddedBroker::start(config).await?;
    println!("listening on {}", broker.bootstrap_servers());
    signal.await;
    broker.shutdown().await
}

/// Listens for SIGTERM and SIGINT from the call on; the future ends with the first.
#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listeners = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        match listeners {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "cannot wait for signals, stopping"),
        }
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "cannot wait for Ctrl-C, stopping");
    }
}

/// The error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
