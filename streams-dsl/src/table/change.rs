//! What a table tells its children: the new value of a key, and the old one where somebody asked for it.

use kstreams_state_stores::{DynSerde, Serde, SerdeError, varint};

/// An update of a table (`org.apache.kafka.streams.kstream.internals.Change`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<V> {
    /// The value now; `None`: deleted.
    pub new: Option<V>,
    /// The value before, if it is known: only where an operator below asks for old values.
    pub old: Option<V>,
    /// Whether this is the newest update of the key; only a versioned table also tells of older ones.
    pub is_latest: bool,
}

impl<V> Change<V> {
    /// The newest update of a key.
    pub fn new(new: Option<V>, old: Option<V>) -> Self {
        Change { new, old, is_latest: true }
    }
}

/// Serde of [`Change`] on the repartition topics of grouped tables, around the serde of the values (`ChangedSerializer`
/// of Kafka Streams 3.5 and later). The last byte says what is there:
///
/// ```text
/// old 00 | new 01 | varint(length of new) new old 02      03, 04, 05: the same, with a byte is-latest before the flag
/// ```
///
/// The latter three are read, never written.
#[derive(Debug)]
pub struct ChangeSerde<V> {
    value: DynSerde<V>,
}

impl<V> Clone for ChangeSerde<V> {
    fn clone(&self) -> Self {
        ChangeSerde { value: self.value.clone() }
    }
}

impl<V: 'static> ChangeSerde<V> {
    /// Around the serde of the values.
    pub fn new(value: DynSerde<V>) -> Self {
        ChangeSerde { value }
    }

    fn append(&self, value: &V, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self.value.serialize_nullable(value, out)? {
            true => Ok(()),
            false => Err(SerdeError::other("a change holds no null")),
        }
    }

    fn split_both<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), SerdeError> {
        let (length, rest) = varint::read(bytes).ok_or_else(malformed)?;
        usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)).ok_or_else(malformed)
    }
}

fn malformed() -> SerdeError {
    SerdeError::other("these are not the bytes of a table's change")
}

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;
/// Added to a flag that has the is-latest byte before it.
const WITH_LATEST: u8 = 3;

impl<V: 'static> Serde for ChangeSerde<V> {
    type Target = Change<V>;

    fn serialize(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (&change.new, &change.old) {
            (None, None) => return Err(SerdeError::other("a change needs an old or a new value")),
            (None, Some(old)) => {
                self.append(old, out)?;
                out.push(OLD);
            }
            (Some(new), None) => {
                self.append(new, out)?;
                out.push(NEW);
            }
            (Some(new), Some(old)) => {
                let mut bytes = Vec::new();
                self.append(new, &mut bytes)?;
                varint::write(i32::try_from(bytes.len()).map_err(SerdeError::other)?, out);
                out.extend_from_slice(&bytes);
                self.append(old, out)?;
                out.push(BOTH);
            }
        }
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Change<V>, SerdeError> {
        let (&flag, bytes) = bytes.split_last().ok_or_else(malformed)?;
        let (flag, is_latest, bytes) = if flag >= WITH_LATEST {
            let (&latest, bytes) = bytes.split_last().ok_or_else(malformed)?;
            (flag - WITH_LATEST, latest != 0, bytes)
        } else {
            (flag, true, bytes)
        };
        let (new, old) = match flag {
            OLD => (None, Some(bytes)),
            NEW => (Some(bytes), None),
            BOTH => {
                let (new, old) = self.split_both(bytes)?;
                (Some(new), Some(old))
            }
            _ => return Err(malformed()),
        };
        let read = |bytes: Option<&[u8]>| bytes.map(|bytes| self.value.deserialize(bytes)).transpose();
        Ok(Change { new: read(new)?, old: read(old)?, is_latest })
    }

    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        ChangeSerde { value: self.value.for_topic(topic, is_key) }
    }
}
