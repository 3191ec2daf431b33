//! Apache Kafka: one node or three, by a program that starts, kills and raises nodes (`KAFKA`, see `.ci/run`). The workers
//! reach each node through a proxy: nodes tell them the proxies' addresses, by a listener of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::Brokers;
use super::proxy::Proxy;
use crate::random::Random;

/// The first of the ports: two of each node are the kit's, a third is for the proxies.
const PORT: u16 = 29792;
const CHAOS_PORTS: u16 = 20;
/// For nodes to start, or to take part again.
const READY: Duration = Duration::from_secs(120);
/// For one look at the cluster.
const LOOK: Duration = Duration::from_secs(2);

pub struct Apache {
    program: PathBuf,
    kit: PathBuf,
    port: u16,
    proxies: Vec<Proxy>,
    /// The killed node.
    down: Option<usize>,
}

impl Apache {
    pub fn start(nodes: usize) -> Result<Apache, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let program = std::env::var("KAFKA").map_or(root.join("../shared/kafka/kafka"), PathBuf::from);
        if !program.exists() {
            return Err(format!("there is no program {} that starts Apache Kafka", program.display()));
        }
        let cache = std::env::var("HOME")
            .map_or_else(|_| std::env::temp_dir(), |home| PathBuf::from(home).join(".cache"));
        let port = std::env::var("KSTREAMS_CHAOS_KAFKA_PORT").ok().and_then(|port| port.parse().ok());
        let mut apache = Apache {
            program,
            kit: cache.join("kstreams-chaos-kafka"),
            port: port.unwrap_or(PORT),
            proxies: Vec::new(),
            down: None,
        };
        apache.script(&["wipe"])?;
        apache.script(&["start", &nodes.to_string()])?;
        for node in 1..=nodes {
            let proxy = Proxy::start(format!("127.0.0.1:{}", apache.chaos_port(node)));
            apache.proxies.push(proxy.map_err(|error| error.to_string())?);
            apache.add_listener(node)?;
        }
        // With the settings that are now in their files.
        (1..=nodes).try_for_each(|node| apache.script(&["kill", &node.to_string()]))?;
        (1..=nodes).try_for_each(|node| apache.script(&["up", &node.to_string()]))?;
        if crate::wait_until(READY, || apache.is_whole()) {
            Ok(apache)
        } else {
            Err(format!("Apache Kafka is not whole after {} s: {:?}", READY.as_secs(), apache.seen()))
        }
    }

    fn chaos_port(&self, node: usize) -> u16 {
        self.port + CHAOS_PORTS + u16::try_from(node).unwrap()
    }

    /// A second listener, with the proxy's address as the one to come back to.
    fn add_listener(&self, node: usize) -> Result<(), String> {
        let path = self.kit.join(format!("node{node}.properties"));
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let line = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.map(str::to_owned).ok_or_else(|| format!("no {key} in {}", path.display()))
        };
        let (listeners, advertised) = (line("listeners")?, line("advertised.listeners")?);
        let protocols = line("listener.security.protocol.map")?;
        let (port, proxy) = (self.chaos_port(node), self.proxies[node - 1].port());
        // Of a setting that is there twice the last one counts.
        let more = format!(
            "\nlisteners={listeners},CHAOS://127.0.0.1:{port}\n\
             advertised.listeners={advertised},CHAOS://127.0.0.1:{proxy}\n\
             listener.security.protocol.map={protocols},CHAOS:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n"
        );
        let file = OpenOptions::new().append(true).open(&path);
        file.and_then(|mut file| file.write_all(more.as_bytes())).map_err(|error| error.to_string())
    }

    fn script(&self, arguments: &[&str]) -> Result<(), String> {
        let settings = "group.min.session.timeout.ms=1000\n\
                        min.insync.replicas=2\n\
                        default.replication.factor=3\n\
                        transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
                        broker.session.timeout.ms=4000\n";
        // One node can't have what three have.
        let settings = if self.is_single(arguments) {
            settings.replace("min.insync.replicas=2\n", "").replace("default.replication.factor=3\n", "")
        } else {
            settings.to_owned()
        };
        let status = Command::new(&self.program)
            .args(arguments)
            .env("KAFKA_KIT", &self.kit)
            .env("KAFKA_PORT", self.port.to_string())
            .env("KAFKA_HEAP", "512m")
            .env("KAFKA_EXTRA", settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{} {arguments:?}: {other:?}", self.program.display())),
        }
    }

    fn is_single(&self, arguments: &[&str]) -> bool {
        arguments == ["start", "1"]
    }

    fn nodes(&self) -> usize {
        self.proxies.len()
    }

    /// Every node is known to the cluster, and every replica in sync.
    fn seen(&self) -> Result<(), String> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create().unwrap();
        let metadata = consumer.fetch_metadata(None, LOOK).map_err(|error| error.to_string())?;
        if metadata.brokers().len() < self.nodes() {
            return Err(format!("{} nodes", metadata.brokers().len()));
        }
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                if partition.isr().len() < partition.replicas().len() || partition.leader() < 0 {
                    return Err(format!("{}-{} is not in sync", topic.name(), partition.id()));
                }
            }
        }
        Ok(())
    }
}

impl Brokers for Apache {
    fn bootstrap(&self) -> String {
        let ports: Vec<String> =
            (0..self.nodes()).map(|n| format!("127.0.0.1:{}", usize::from(self.port) + 2 * n)).collect();
        ports.join(",")
    }

    fn worker_bootstrap(&self) -> String {
        let ports: Vec<String> =
            self.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
        ports.join(",")
    }

    fn replication(&self) -> i32 {
        if self.nodes() >= 3 { 3 } else { 1 }
    }

    fn kill(&mut self, random: &mut Random) {
        let node = 1 + random.index(self.nodes());
        self.script(&["kill", &node.to_string()]).unwrap();
        self.down = Some(node);
    }

    fn up(&mut self) -> Result<(), String> {
        if let Some(node) = self.down.take() {
            self.script(&["up", &node.to_string()])?;
        }
        Ok(())
    }

    fn is_whole(&mut self) -> bool {
        self.down.is_none() && self.seen() == Ok(())
    }

    fn has_network(&self) -> bool {
        true
    }

    fn cut(&mut self) {
        self.proxies.iter().for_each(Proxy::cut);
    }

    fn refuse(&mut self, yes: bool) {
        self.proxies.iter().for_each(|proxy| proxy.refuse(yes));
    }

    fn delay(&mut self, by: Duration) {
        self.proxies.iter().for_each(|proxy| proxy.delay(by));
    }

    fn alive(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        if std::env::var("CHAOS_KEEP").is_err() {
            let _ = self.script(&["wipe"]);
        }
    }
}
