//! What the two sides of a foreign-key join write to each other, and the keys of the subscriptions' store.
//!
//! ```text
//! subscription     (80 if there is no hash | version) u8 | instruction u8 | hash 16 bytes | primary key | partition i32
//! response         (80 if there is no hash | 00) u8 | hash 16 bytes | foreign value, nothing for null
//! key in the store foreign key's length i32 | foreign key | primary key
//! ```
//!
//! Version 1 is written; version 0, which lacks the partition, is read.

use kstreams_state_stores::{DynSerde, Serde, SerdeError};

/// Hash of the row that asks; `None`: it was deleted.
pub(super) type RowHash = Option<[u64; 2]>;

/// What a subscription asks for (`SubscriptionWrapper.Instruction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instruction {
    /// End the subscription; another one follows elsewhere.
    Delete,
    /// End it, and answer with null.
    DeleteAndAnswer,
    /// Subscribe, and answer in any case.
    Answer,
    /// Subscribe, and answer if there is a foreign value.
    AnswerIfPresent,
}

impl Instruction {
    fn from_byte(byte: u8) -> Option<Self> {
        use Instruction::{Answer, AnswerIfPresent, Delete, DeleteAndAnswer};
        [Delete, DeleteAndAnswer, Answer, AnswerIfPresent].get(usize::from(byte)).copied()
    }
}

/// A row's interest in a foreign key (`SubscriptionWrapper`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription<K> {
    pub(super) hash: RowHash,
    pub(super) instruction: Instruction,
    pub(super) primary_key: K,
    /// The partition of the row, to which the answer goes; `None` in version 0.
    pub(super) partition: Option<i32>,
}

/// The foreign value for a row (`SubscriptionResponseWrapper`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response<V> {
    /// That of the subscription: an answer to what the row was before is stale.
    pub(super) hash: RowHash,
    pub(super) value: Option<V>,
    /// Where to; not written.
    pub(super) partition: Option<i32>,
}

/// Key of a subscription in its store (`CombinedKey`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CombinedKey<KO, K> {
    pub(super) foreign: KO,
    pub(super) primary: K,
}

/// The topic names by which serdes of schema registries know the parts of a message
/// (`<application>-<registration topic>-pk`, `-fk`, `-vh`).
#[derive(Debug, Clone)]
pub(super) struct PseudoTopics {
    pub(super) registration_topic: String,
    pub(super) store: String,
}

impl PseudoTopics {
    /// The one of `part` in the application that `topic`, the registration topic or the store's changelog, is of.
    fn beside(&self, topic: &str, part: &str) -> String {
        let of_store = format!("-{}-changelog", self.store);
        let of_topic = format!("-{}", self.registration_topic);
        let application = topic.strip_suffix(&*of_store).or_else(|| topic.strip_suffix(&*of_topic));
        self.named(application.unwrap_or(topic), part)
    }

    /// The one of `part` in this application.
    pub(super) fn named(&self, application: &str, part: &str) -> String {
        format!("{application}-{}-{part}", self.registration_topic)
    }
}

const NO_HASH: u8 = 0x80;

fn write_head(version: u8, hash: RowHash, out: &mut Vec<u8>) {
    out.push(if hash.is_some() { version } else { version | NO_HASH });
}

fn write_hash(hash: RowHash, out: &mut Vec<u8>) {
    for half in hash.into_iter().flatten() {
        out.extend_from_slice(&half.to_be_bytes());
    }
}

fn read_hash(head: u8, bytes: &mut &[u8]) -> Result<RowHash, SerdeError> {
    if head & NO_HASH != 0 {
        return Ok(None);
    }
    let mut half = || -> Result<u64, SerdeError> {
        let (half, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        *bytes = rest;
        Ok(u64::from_be_bytes(*half))
    };
    Ok(Some([half()?, half()?]))
}

fn malformed() -> SerdeError {
    SerdeError::other("these are not the bytes of a foreign-key join's message")
}

fn unknown_version(version: u8) -> SerdeError {
    SerdeError::other(format!(
        "a foreign-key join's message of version {version} is from a newer release: upgrade this instance"
    ))
}

/// Serde of [`Subscription`].
pub(super) struct SubscriptionSerde<K> {
    pub(super) key: DynSerde<K>,
    pub(super) topics: PseudoTopics,
}

impl<K> Clone for SubscriptionSerde<K> {
    fn clone(&self) -> Self {
        SubscriptionSerde { key: self.key.clone(), topics: self.topics.clone() }
    }
}

impl<K: 'static> Serde for SubscriptionSerde<K> {
    type Target = Subscription<K>;

    fn serialize(&self, subscription: &Subscription<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let Subscription { hash, instruction, primary_key, partition } = subscription;
        write_head(u8::from(partition.is_some()), *hash, out);
        out.push(*instruction as u8);
        write_hash(*hash, out);
        self.key.serialize(primary_key, out)?;
        out.extend(partition.iter().flat_map(|partition| partition.to_be_bytes()));
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Subscription<K>, SerdeError> {
        let (&[head, instruction], mut rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let instruction = Instruction::from_byte(instruction).ok_or_else(malformed)?;
        let hash = read_hash(head, &mut rest)?;
        let (key, partition) = match head & !NO_HASH {
            0 => (rest, None),
            1 => {
                let (key, partition) = rest.split_last_chunk().ok_or_else(malformed)?;
                (key, Some(i32::from_be_bytes(*partition)))
            }
            version => return Err(unknown_version(version)),
        };
        Ok(Subscription { hash, instruction, primary_key: self.key.deserialize(key)?, partition })
    }
    fn for_topic(&self, topic: &str, _is_key: bool) -> Self {
        let key = self.key.for_topic(&self.topics.beside(topic, "pk"), true);
        SubscriptionSerde { key, topics: self.topics.clone() }
    }
}

/// Serde of [`Response`].
pub(super) struct ResponseSerde<V>(pub(super) DynSerde<V>);

impl<V> Clone for ResponseSerde<V> {
    fn clone(&self) -> Self {
        ResponseSerde(self.0.clone())
    }
}

impl<V: 'static> Serde for ResponseSerde<V> {
    type Target = Response<V>;

    fn serialize(&self, response: &Response<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        write_head(0, response.hash, out);
        write_hash(response.hash, out);
        response.value.as_ref().map_or(Ok(()), |value| self.0.serialize(value, out))
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Response<V>, SerdeError> {
        let (&head, mut rest) = bytes.split_first().ok_or_else(malformed)?;
        if head & !NO_HASH != 0 {
            return Err(unknown_version(head & !NO_HASH));
        }
        let hash = read_hash(head, &mut rest)?;
        let value = (!rest.is_empty()).then(|| self.0.deserialize(rest)).transpose()?;
        Ok(Response { hash, value, partition: None })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        ResponseSerde(self.0.for_topic(topic, is_key))
    }
}

/// Serde of [`CombinedKey`].
pub(super) struct CombinedKeySerde<KO, K> {
    pub(super) foreign: DynSerde<KO>,
    pub(super) primary: DynSerde<K>,
    pub(super) topics: PseudoTopics,
}

impl<KO, K> Clone for CombinedKeySerde<KO, K> {
    fn clone(&self) -> Self {
        let (foreign, primary) = (self.foreign.clone(), self.primary.clone());
        CombinedKeySerde { foreign, primary, topics: self.topics.clone() }
    }
}

/// What the keys of all subscriptions to a foreign key begin with.
pub(super) fn prefix_of<KO: 'static>(
    serde: &DynSerde<KO>,
    foreign: &KO,
    out: &mut Vec<u8>,
) -> Result<(), SerdeError> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    serde.serialize(foreign, out)?;
    let length = i32::try_from(out.len() - at - 4).map_err(SerdeError::other)?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

impl<KO: 'static, K: 'static> Serde for CombinedKeySerde<KO, K> {
    type Target = CombinedKey<KO, K>;

    fn serialize(&self, key: &CombinedKey<KO, K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        prefix_of(&self.foreign, &key.foreign, out)?;
        self.primary.serialize(&key.primary, out)
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<CombinedKey<KO, K>, SerdeError> {
        let (length, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(SerdeError::other)?;
        let (foreign, primary) = rest.split_at_checked(length).ok_or_else(malformed)?;
        Ok(CombinedKey {
            foreign: self.foreign.deserialize(foreign)?,
            primary: self.primary.deserialize(primary)?,
        })
    }
    fn for_topic(&self, topic: &str, _is_key: bool) -> Self {
        CombinedKeySerde {
            foreign: self.foreign.for_topic(&self.topics.beside(topic, "fk"), true),
            primary: self.primary.for_topic(&self.topics.beside(topic, "pk"), true),
            topics: self.topics.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::murmur3::hash128;
    use super::*;

    fn topics() -> PseudoTopics {
        PseudoTopics { registration_topic: "reg-topic".to_owned(), store: "subs".to_owned() }
    }

    fn text() -> DynSerde<String> {
        DynSerde::new(String::new())
    }

    fn hex<S: Serde>(serde: &S, value: &S::Target) -> String {
        let mut bytes = Vec::new();
        serde.serialize(value, &mut bytes).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(value: &Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn hash(value: &Value) -> RowHash {
        value.as_array().map(|both| [0, 1].map(|half| both[half].as_i64().unwrap().cast_unsigned()))
    }

    #[test]
    fn messages_and_keys_have_the_jvms_bytes() {
        let file: Value = serde_json::from_str(include_str!("../../../tests/vectors/fk_join.json")).unwrap();
        let all = |name: &str| file[name].as_array().unwrap().clone();
        assert_eq!(Some(hash128(file["hashInput"].as_str().unwrap().as_bytes())), hash(&file["hashOfInput"]));
        for case in all("subscriptionWrapper") {
            if case["note"].is_string() {
                // Only its bytes are recorded: what an instance in the middle of an upgrade from 3.3 sends.
                let serde = SubscriptionSerde { key: text(), topics: topics() };
                assert_eq!(serde.deserialize(&unhex(&case["bytes"])).unwrap().primary_key, "pk1");
                continue;
            }
            let subscription = Subscription {
                hash: hash(&case["hash"]),
                instruction: Instruction::from_byte(case["instructionByte"].as_u64().unwrap() as u8).unwrap(),
                primary_key: case["primaryKey"].as_str().unwrap().to_owned(),
                partition: case["primaryPartition"].as_i64().map(|partition| partition as i32),
            };
            let serde = SubscriptionSerde { key: text(), topics: topics() };
            assert_eq!(hex(&serde, &subscription), case["bytes"].as_str().unwrap());
            assert_eq!(serde.deserialize(&unhex(&case["bytes"])).unwrap(), subscription);
        }
        for case in all("subscriptionResponseWrapper") {
            let value = case["foreignValue"].as_str().map(str::to_owned);
            let response = Response { hash: hash(&case["originalValueHash"]), value, partition: None };
            let serde = ResponseSerde(text());
            assert_eq!(hex(&serde, &response), case["bytes"].as_str().unwrap());
            let value = response.value.filter(|value| !value.is_empty()); // an empty one comes back as null
            assert_eq!(serde.deserialize(&unhex(&case["bytes"])).unwrap(), Response { value, ..response });
        }
        for case in all("combinedKey") {
            let part = |name: &str| case[name].as_str().unwrap().to_owned();
            let key = CombinedKey { foreign: part("foreignKey"), primary: part("primaryKey") };
            let serde = CombinedKeySerde { foreign: text(), primary: text(), topics: topics() };
            assert_eq!(hex(&serde, &key), part("storeKey"));
            let mut prefix = Vec::new();
            prefix_of(&text(), &key.foreign, &mut prefix).unwrap();
            assert_eq!(prefix, unhex(&case["scanPrefix"]));
            assert_eq!(serde.deserialize(&unhex(&case["storeKey"])).unwrap(), key);
        }
    }

    #[test]
    fn a_newer_version_is_refused_with_what_to_do() {
        let serde = SubscriptionSerde { key: text(), topics: topics() };
        let error = serde.deserialize(b"\x82\x00pk\0\0\0\0").unwrap_err();
        assert!(error.to_string().contains("version 2 is from a newer release"), "{error}");
        assert!(serde.deserialize(b"\x81\x07pk").is_err());
        assert!(ResponseSerde(text()).deserialize(b"\x01").is_err());
    }

    #[test]
    fn registries_know_the_parts_by_topics_of_their_own() {
        assert_eq!(topics().beside("app-reg-topic", "pk"), "app-reg-topic-pk");
        assert_eq!(topics().beside("my-app-subs-changelog", "fk"), "my-app-reg-topic-fk");
    }
}
