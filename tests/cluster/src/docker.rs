//! Apache Kafka in a container, with `KSTREAMS_TEST_DOCKER=1`: one for all tests of a process that run at a time.

use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use testcontainers::core::{ContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::oneshot;

use crate::say;

const IMAGE: &str = "apache/kafka";
const TAG: &str = "4.3.0";
/// Of the listener in the container.
const PORT: u16 = 9092;
/// For the image to be fetched and the broker to start.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// A running container; it is removed when the last test that uses it lets go.
pub(crate) struct Kafka {
    pub(crate) bootstrap: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum Known {
    NotAsked,
    Running(Weak<Kafka>),
    /// Said once.
    NotThere,
}

/// The container, when Docker was asked for and is there.
pub(crate) fn kafka() -> Option<Arc<Kafka>> {
    static KNOWN: Mutex<Known> = Mutex::new(Known::NotAsked);
    if std::env::var("KSTREAMS_TEST_DOCKER").as_deref() != Ok("1") {
        return None;
    }
    let mut known = KNOWN.lock().unwrap();
    match &*known {
        Known::NotThere => return None,
        Known::Running(kafka) => {
            if let Some(kafka) = kafka.upgrade() {
                return Some(kafka);
            }
        }
        Known::NotAsked => {}
    }
    match start() {
        Ok(kafka) => {
            let kafka = Arc::new(kafka);
            *known = Known::Running(Arc::downgrade(&kafka));
            Some(kafka)
        }
        Err(error) => {
            say(&format!(
                "SKIPPED: Apache Kafka in Docker (KSTREAMS_TEST_DOCKER is 1, but {IMAGE}:{TAG} does not start: {error})"
            ));
            *known = Known::NotThere;
            None
        }
    }
}

/// A thread with a runtime of its own keeps the container: those of the tests end with each test.
fn start() -> Result<Kafka, String> {
    let (sender, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let keep = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            match container().await {
                Ok((bootstrap, container)) => {
                    let _ = sender.send(Ok(bootstrap));
                    let _ = stopped.await;
                    if let Err(error) = container.rm().await {
                        say(&format!("the container with Apache Kafka is still there: {error}"));
                    }
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
    };
    let thread =
        std::thread::Builder::new().name("test-docker".into()).spawn(keep).map_err(|e| e.to_string())?;
    let bootstrap = started.recv().map_err(|_| "the start broke off".to_owned())??;
    Ok(Kafka { bootstrap, stop: Some(stop), thread: Some(thread) })
}

async fn container() -> Result<(String, ContainerAsync<GenericImage>), String> {
    // Known beforehand, because the broker tells its clients the address to come back to.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| error.to_string())?.port();
    let bootstrap = format!("127.0.0.1:{port}");
    let settings = [
        ("KAFKA_NODE_ID", "1".to_owned()),
        ("KAFKA_PROCESS_ROLES", "broker,controller".to_owned()),
        ("KAFKA_LISTENERS", format!("PLAINTEXT://:{PORT},CONTROLLER://:9093")),
        ("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://{bootstrap}")),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER".to_owned()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093".to_owned()),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1".to_owned()),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0".to_owned()),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false".to_owned()),
    ];
    let image = GenericImage::new(IMAGE, TAG)
        .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
        .with_mapped_port(port, ContainerPort::Tcp(PORT))
        .with_startup_timeout(START_TIMEOUT);
    let image = settings.into_iter().fold(image, |image, (name, value)| image.with_env_var(name, value));
    let container = image.start().await.map_err(|error| error.to_string())?;
    Ok((bootstrap, container))
}
