//! A record as processors see it: key, value, timestamp, headers.

use std::sync::Arc;

/// One header of a record. A name may occur more than once; the value may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub key: Arc<str>,
    /// The header's value; `None` is Kafka's null.
    pub value: Option<Arc<[u8]>>,
}

/// The headers of a record, in order. Empty headers cost one word and no allocation; a clone is a reference count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Header>>>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Headers(None)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Whether both are the same headers in memory: a quick test that finds most equal ones.
    pub fn ptr_eq(&self, other: &Headers) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The headers in the order in which they were added.
    pub fn as_slice(&self) -> &[Header] {
        self.0.as_ref().map_or(&[], |headers| headers.as_slice())
    }

    /// Iterates in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// Adds a header after those there; `value` may be null (`None`).
    pub fn add(&mut self, key: &str, value: Option<&[u8]>) -> &mut Self {
        let headers = Arc::make_mut(self.0.get_or_insert_default());
        headers.push(Header { key: key.into(), value: value.map(Into::into) });
        self
    }

    /// Removes every header of this name.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        if self.iter().any(|header| &*header.key == key) {
            Arc::make_mut(self.0.get_or_insert_default()).retain(|header| &*header.key != key);
        }
        self
    }

    /// The last header of this name, the one that counts where one is expected (`Headers.lastHeader`).
    pub fn last(&self, key: &str) -> Option<&Header> {
        self.iter().rev().find(|header| &*header.key == key)
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let headers: Vec<_> = headers.into_iter().collect();
        if headers.is_empty() { Headers(None) } else { Headers(Some(Arc::new(headers))) }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A record on its way through a topology. It moves by value; it is cloned only where a node has several children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<K, V> {
    /// The key; `Option` where the topology says that it may be null.
    pub key: K,
    /// The value; `Option` where the topology says that it may be null.
    pub value: V,
    /// Milliseconds since the epoch; never negative inside a topology.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: i64) -> Self {
        Record { key, value, timestamp, headers: Headers::new() }
    }

    /// The same record with another key.
    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another timestamp (ms since the epoch).
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        Record { timestamp, ..self }
    }

    /// The same record with other headers.
    pub fn with_headers(self, headers: Headers) -> Self {
        Record { headers, ..self }
    }
}

/// A value and the time of the update that made it: what timestamped stores hold (`ValueAndTimestamp` of the JVM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueAndTimestamp<V> {
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_order_and_duplicates_and_share_until_written() {
        let mut headers = Headers::new();
        headers.add("a", Some(b"1")).add("b", None).add("a", Some(b"2"));
        let kept = headers.clone();
        headers.remove("a");
        assert_eq!(headers.len(), 1);
        assert_eq!(kept.last("a").and_then(|h| h.value.as_deref()), Some(&b"2"[..]));
        assert_eq!(kept.len(), 3);
    }
}
