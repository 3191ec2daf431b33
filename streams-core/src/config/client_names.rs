//! The clients' settings by name: what becomes of Java's names, and which of librdkafka's are taken as they are.
//!
//! Sources: Apache Kafka's `ConsumerConfig`, `ProducerConfig`, `AdminClientConfig`; librdkafka 2.12's `CONFIGURATION.md`.

use super::value::number;

/// Consumers.
pub(super) const C: u8 = 1;
/// Producers.
pub(super) const P: u8 = 2;
/// Admin clients.
pub(super) const A: u8 = 4;
const CPA: u8 = C | P | A;

/// librdkafka's names and values.
type Converted = Result<Vec<(&'static str, String)>, String>;

/// What becomes of a setting.
#[derive(Clone, Copy)]
pub(super) enum To {
    /// The same name in librdkafka.
    Same,
    /// Another name in librdkafka.
    Name(&'static str),
    /// Other names, or another form of the value.
    Convert(fn(&str) -> Converted),
    /// Stores of keys and logins: translated together, in `security.rs`.
    Security,
    /// No effect here, for this reason.
    Ignored(&'static str),
    /// Only these values, for this reason.
    Only(&'static [&'static str], &'static str),
    /// Kept by the library, for this reason.
    Controlled(&'static str),
}

use To::{Controlled, Convert, Ignored, Name, Only, Same, Security};

const SERDES: &str = "serdes are type arguments here";
const CLASS: &str = "names a Java class, which cannot be loaded here; remove it";
const METRICS: &str = "install a recorder for the `metrics` facade instead";
const BY_OPENSSL: &str = "OpenSSL, which librdkafka uses, chooses by itself";
const LOGIN: &str = "librdkafka refreshes logins by itself";
const JWT: &str = "tokens are validated by the broker";
const OFFSETS: &str = "the library commits offsets itself, after the results that they stand for";
const DURABLE: &str =
    "a committed offset implies that every result is acknowledged by all in-sync replicas, once and in order";
const STICKY: &str = "librdkafka's own sticky partitioner serves records without key";

/// Settings that are not simply librdkafka's of the same name, by clients.
#[rustfmt::skip]
const TRANSLATED: &[(&str, u8, To)] = &[
    // All clients.
    ("bootstrap.servers", CPA, Controlled("every client uses the application's `bootstrap.servers`; set it without prefix")),
    ("metadata.broker.list", CPA, Controlled("every client uses the application's `bootstrap.servers`; set that")),
    ("client.id", CPA, Controlled("each client's id is made from the application's `client.id`; set it without prefix")),
    ("metadata.max.age.ms", CPA, Name("topic.metadata.refresh.interval.ms")),
    ("send.buffer.bytes", CPA, Convert(|v| Ok(vec![("socket.send.buffer.bytes", system_default(v)?)]))),
    ("receive.buffer.bytes", CPA, Convert(|v| Ok(vec![("socket.receive.buffer.bytes", system_default(v)?)]))),
    ("connections.max.idle.ms", CPA, Convert(|v| Ok(vec![("connections.max.idle.ms", system_default(v)?)]))),
    ("socket.connection.setup.timeout.max.ms", CPA, Ignored("librdkafka has one timeout: socket.connection.setup.timeout.ms")),
    ("request.timeout.ms", C | A, Name("socket.timeout.ms")),
    ("request.timeout.ms", P, Convert(|v| Ok(vec![("request.timeout.ms", v.to_owned()), ("socket.timeout.ms", v.to_owned())]))),
    ("default.api.timeout.ms", CPA, Ignored("it is one setting of the application; set it without prefix")),
    ("interceptor.classes", CPA, Controlled(CLASS)),
    ("metric.reporters", CPA, Ignored(METRICS)),
    ("metrics.num.samples", CPA, Ignored(METRICS)),
    ("metrics.recording.level", CPA, Ignored(METRICS)),
    ("metrics.sample.window.ms", CPA, Ignored(METRICS)),
    ("auto.include.jmx.reporter", CPA, Ignored(METRICS)),
    // Security.
    ("security.protocol", CPA, Convert(|v| Ok(vec![("security.protocol", v.to_ascii_lowercase())]))),
    ("security.providers", CPA, Ignored(BY_OPENSSL)),
    ("sasl.mechanisms", CPA, Name("sasl.mechanism")),
    ("sasl.jaas.config", CPA, Security),
    ("sasl.client.callback.handler.class", CPA, Controlled(CLASS)),
    ("sasl.login.callback.handler.class", CPA, Controlled(CLASS)),
    ("sasl.login.class", CPA, Controlled(CLASS)),
    ("sasl.login.connect.timeout.ms", CPA, Ignored(LOGIN)),
    ("sasl.login.read.timeout.ms", CPA, Ignored(LOGIN)),
    ("sasl.login.refresh.buffer.seconds", CPA, Ignored(LOGIN)),
    ("sasl.login.refresh.min.period.seconds", CPA, Ignored(LOGIN)),
    ("sasl.login.refresh.window.factor", CPA, Ignored(LOGIN)),
    ("sasl.login.refresh.window.jitter", CPA, Ignored(LOGIN)),
    ("sasl.login.retry.backoff.ms", CPA, Ignored(LOGIN)),
    ("sasl.login.retry.backoff.max.ms", CPA, Ignored(LOGIN)),
    ("sasl.kerberos.kinit.cmd", CPA, Convert(kinit)),
    ("sasl.kerberos.ticket.renew.jitter", CPA, Ignored(LOGIN)),
    ("sasl.kerberos.ticket.renew.window.factor", CPA, Ignored(LOGIN)),
    ("sasl.oauthbearer.clock.skew.seconds", CPA, Ignored(JWT)),
    ("sasl.oauthbearer.expected.audience", CPA, Ignored(JWT)),
    ("sasl.oauthbearer.expected.issuer", CPA, Ignored(JWT)),
    ("sasl.oauthbearer.jwks.endpoint.url", CPA, Ignored(JWT)),
    ("sasl.oauthbearer.scope.claim.name", CPA, Ignored(JWT)),
    ("sasl.oauthbearer.sub.claim.name", CPA, Ignored(JWT)),
    ("ssl.endpoint.identification.algorithm", CPA, Convert(endpoint_identification)),
    ("ssl.truststore.type", CPA, Security),
    ("ssl.truststore.location", CPA, Security),
    ("ssl.truststore.password", CPA, Security),
    ("ssl.truststore.certificates", CPA, Security),
    ("ssl.keystore.type", CPA, Security),
    ("ssl.keystore.location", CPA, Security),
    ("ssl.keystore.password", CPA, Security),
    ("ssl.keystore.key", CPA, Name("ssl.key.pem")),
    ("ssl.keystore.certificate.chain", CPA, Name("ssl.certificate.pem")),
    ("ssl.protocol", CPA, Ignored(BY_OPENSSL)),
    ("ssl.enabled.protocols", CPA, Ignored(BY_OPENSSL)),
    ("ssl.provider", CPA, Ignored(BY_OPENSSL)),
    ("ssl.keymanager.algorithm", CPA, Ignored(BY_OPENSSL)),
    ("ssl.trustmanager.algorithm", CPA, Ignored(BY_OPENSSL)),
    ("ssl.secure.random.implementation", CPA, Ignored(BY_OPENSSL)),
    ("ssl.engine.factory.class", CPA, Controlled(CLASS)),
    // Consumers.
    ("group.id", C, Controlled("the group is the `application.id`")),
    ("group.protocol", C, Only(&["classic"], "the library brings its own assignment over the classic protocol")),
    ("group.remote.assignor", C, Controlled("the library assigns tasks itself")),
    ("partition.assignment.strategy", C, Controlled("the library assigns tasks itself")),
    ("enable.auto.commit", C, Only(&["false"], OFFSETS)),
    ("auto.commit.interval.ms", C, Controlled(OFFSETS)),
    ("enable.auto.offset.store", C, Only(&["false"], OFFSETS)),
    ("auto.offset.reset", C, Controlled("restoration and global tables always start where the local state ends")),
    ("allow.auto.create.topics", C, Only(&["false"], "a source topic that is missing is an error, not something to create with one partition")),
    ("enable.partition.eof", C, Only(&["true"], "the library needs to know when an input is read to its end")),
    ("max.poll.records", C, Ignored("restoration is bounded in bytes, by `memory.budget.bytes`")),
    ("fetch.max.wait.ms", C, Name("fetch.wait.max.ms")),
    ("fetch.message.max.bytes", C, Name("max.partition.fetch.bytes")),
    ("exclude.internal.topics", C, Ignored("patterns never match the brokers' internal topics here")),
    ("key.deserializer", C, Ignored(SERDES)),
    ("value.deserializer", C, Ignored(SERDES)),
    // Producers.
    ("acks", P, Only(&["all", "-1"], DURABLE)),
    ("request.required.acks", P, Only(&["all", "-1"], DURABLE)),
    ("enable.idempotence", P, Only(&["true"], DURABLE)),
    ("enable.gapless.guarantee", P, Controlled(DURABLE)),
    ("delivery.report.only.error", P, Controlled("the offsets of changelog records are known from their delivery reports")),
    ("transactional.id", P, Controlled("the library names its transactions itself")),
    ("transaction.timeout.ms", P, Same),
    ("max.block.ms", P, Ignored("it is one setting of the application; set it without prefix")),
    ("buffer.memory", P, Convert(buffer_memory)),
    ("max.request.size", P, Name("message.max.bytes")),
    ("max.in.flight", P, Name("max.in.flight.requests.per.connection")),
    ("queue.buffering.max.ms", P, Name("linger.ms")),
    ("message.send.max.retries", P, Name("retries")),
    ("message.timeout.ms", P, Name("delivery.timeout.ms")),
    ("compression.codec", P, Name("compression.type")),
    ("compression.gzip.level", P, Name("compression.level")),
    ("compression.lz4.level", P, Name("compression.level")),
    ("compression.zstd.level", P, Name("compression.level")),
    ("metadata.max.idle.ms", P, Ignored("librdkafka keeps a topic's metadata while it is used")),
    ("partitioner", P, Controlled("keys are partitioned by murmur2, as by every Java client; give a StreamPartitioner to the sink")),
    ("partitioner.class", P, Controlled("names a Java class, which cannot be loaded here; give a StreamPartitioner to the sink")),
    ("partitioner.ignore.keys", P, Ignored("the library partitions by key, or by the sink's StreamPartitioner")),
    ("partitioner.adaptive.partitioning.enable", P, Ignored(STICKY)),
    ("partitioner.availability.timeout.ms", P, Ignored(STICKY)),
    ("key.serializer", P, Ignored(SERDES)),
    ("value.serializer", P, Ignored(SERDES)),
];

/// librdkafka's settings that are taken as they are (most are Java's too).
#[rustfmt::skip]
const PASSED_ON: &[(u8, &[&str])] = &[
    (CPA, &[
        "api.version.fallback.ms", "api.version.request", "api.version.request.timeout.ms", "broker.address.family",
        "broker.address.ttl", "broker.version.fallback", "client.dns.lookup", "client.rack", "debug", "enable.metrics.push",
        "enable.random.seed", "enable.sasl.oauthbearer.unsecure.jwt", "enable.ssl.certificate.verification",
        "internal.termination.signal", "log.connection.close", "log.thread.name", "log_level",
        "max.in.flight.requests.per.connection", "message.copy.max.bytes", "message.max.bytes",
        "metadata.recovery.rebootstrap.trigger.ms", "metadata.recovery.strategy", "receive.message.max.bytes", "reconnect.backoff.jitter.ms", "reconnect.backoff.max.ms", "reconnect.backoff.ms",
        "retry.backoff.max.ms", "retry.backoff.ms", "sasl.kerberos.keytab", "sasl.kerberos.min.time.before.relogin",
        "sasl.kerberos.principal", "sasl.kerberos.service.name", "sasl.mechanism", "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.oauthbearer.extensions", "sasl.oauthbearer.method",
        "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username",
        "socket.blocking.max.ms", "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "socket.max.fails",
        "socket.nagle.disable", "socket.receive.buffer.bytes", "socket.send.buffer.bytes", "socket.timeout.ms",
        "ssl.ca.certificate.stores", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem",
        "ssl.cipher.suites", "ssl.crl.location", "ssl.curves.list", "ssl.engine.id", "ssl.engine.location", "ssl.key.location",
        "ssl.key.password", "ssl.key.pem", "ssl.providers", "ssl.sigalgs.list", "statistics.interval.ms", "topic.blacklist",
        "topic.metadata.propagation.max.ms", "topic.metadata.refresh.fast.interval.ms", "topic.metadata.refresh.interval.ms",
        "topic.metadata.refresh.sparse",
    ]),
    (C, &[
        "check.crcs", "coordinator.query.interval.ms", "fetch.error.backoff.ms", "fetch.max.bytes", "fetch.min.bytes",
        "fetch.queue.backoff.ms", "fetch.wait.max.ms", "group.instance.id", "heartbeat.interval.ms", "isolation.level",
        "max.partition.fetch.bytes", "max.poll.interval.ms", "queued.max.messages.kbytes", "queued.min.messages",
        "session.timeout.ms",
    ]),
    (P, &[
        "batch.num.messages", "batch.size", "compression.level", "compression.type", "delivery.timeout.ms", "linger.ms",
        "queue.buffering.backpressure.threshold", "queue.buffering.max.kbytes", "queue.buffering.max.messages", "retries",
        "sticky.partitioning.linger.ms",
    ]),
];

/// What becomes of `name` in clients of this kind (`C`, `P` or `A`, or several); `None` for a name that none of them has.
pub(super) fn rule(name: &str, clients: u8) -> Option<To> {
    let translated = TRANSLATED
        .iter()
        .find(|(known, whose, _)| *known == name && whose & clients != 0)
        .map(|(_, _, to)| *to);
    translated.or_else(|| {
        PASSED_ON.iter().any(|(whose, names)| whose & clients != 0 && names.contains(&name)).then_some(Same)
    })
}

/// The prefixes of client settings, the wider before the narrower, and the clients that they reach.
pub(super) const PREFIXES: &[(&str, u8)] = &[
    ("", CPA),
    ("consumer.", C),
    ("main.consumer.", C),
    ("restore.consumer.", C),
    ("global.consumer.", C),
    ("producer.", P),
    ("admin.", A),
];

/// Every name that a client setting may have, with and without prefix; for suggestions.
pub(super) fn known_names_with_prefixes() -> Vec<String> {
    let translated = TRANSLATED.iter().map(|(name, whose, _)| (*name, *whose));
    let passed_on = PASSED_ON.iter().flat_map(|(whose, names)| names.iter().map(|name| (*name, *whose)));
    translated
        .chain(passed_on)
        .flat_map(|(name, whose)| {
            PREFIXES
                .iter()
                .filter(move |(_, reached)| reached & whose != 0)
                .map(move |(prefix, _)| format!("{prefix}{name}"))
        })
        .collect()
}

/// librdkafka's names that settings may come out under.
#[cfg(test)]
pub(super) fn known_targets() -> Vec<&'static str> {
    let named = TRANSLATED.iter().filter_map(|(_, _, to)| match to {
        Name(name) => Some(*name),
        _ => None,
    });
    named.chain(PASSED_ON.iter().flat_map(|(_, names)| names.iter().copied())).collect()
}

/// Java's -1 (the system's default, or never) is librdkafka's 0.
fn system_default(text: &str) -> Result<String, String> {
    number::<i64>(text, -1, i64::from(i32::MAX), "").map(|value| value.max(0).to_string())
}

/// Bytes in Java, KiB in librdkafka.
fn buffer_memory(text: &str) -> Converted {
    let bytes = number::<i64>(text, 1, i64::from(i32::MAX) * 1_024, " of bytes")?;
    Ok(vec![("queue.buffering.max.kbytes", (bytes / 1_024).max(1).to_string())])
}

/// Java's empty value switches the check of host names off.
fn endpoint_identification(text: &str) -> Converted {
    let algorithm = match text.to_ascii_lowercase().as_str() {
        "" | "none" => "none",
        "https" => "https",
        _ => return Err(format!("`{text}` is neither https nor empty (no check of host names)")),
    };
    Ok(vec![("ssl.endpoint.identification.algorithm", algorithm.to_owned())])
}

/// Java names the program, librdkafka a command line.
fn kinit(text: &str) -> Converted {
    let arguments = "-t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal}";
    let command = if text.contains(' ') {
        text.to_owned()
    } else {
        format!("{text} -R {arguments} || {text} {arguments}")
    };
    Ok(vec![("sasl.kerberos.kinit.cmd", command)])
}
