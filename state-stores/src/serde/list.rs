//! Lists of values (`ListSerde` of Kafka's clients).

use super::{Serde, SerdeError};

/// Serde of lists, around the serde of the elements. An element may be null where its type is an `Option`.
///
/// ```text
/// elements of any size     01 | count i32 | (length i32, -1 for null | bytes)*
/// elements of one size     00 | nulls i32 | index of a null i32 * | count i32 | elements that are not null
/// ```
///
/// Java chooses by the element's serde: the second form for Integer, Long, Short, Float, Double and UUID.
///
/// ```
/// use kstreams_state_stores::{ListSerde, Serde};
///
/// let mut bytes = Vec::new();
/// ListSerde::new(String::new()).serialize(&vec!["a".to_owned(), "bc".to_owned()], &mut bytes).unwrap();
/// assert_eq!(bytes, b"\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc");
/// ```
#[derive(Debug, Clone)]
pub struct ListSerde<S> {
    element: S,
    /// Bytes of each element, where all have as many.
    element_bytes: Option<usize>,
}

const FIXED: u8 = 0;
const VARIABLE: u8 = 1;

impl<S: Serde> ListSerde<S> {
    /// For elements whose sizes differ.
    pub fn new(element: S) -> Self {
        ListSerde { element, element_bytes: None }
    }

    /// For elements that all take `element_bytes` bytes.
    pub fn of_fixed_size(element: S, element_bytes: usize) -> Self {
        ListSerde { element, element_bytes: Some(element_bytes) }
    }

    fn null(&self) -> Result<S::Target, SerdeError> {
        self.element.deserialize_nullable(None)
    }

    fn write_fixed(&self, list: &[S::Target], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let (mut elements, mut nulls) = (Vec::new(), Vec::new());
        for (index, element) in list.iter().enumerate() {
            if !self.element.serialize_nullable(element, &mut elements)? {
                nulls.push(index);
            }
        }
        out.push(FIXED);
        write_length(nulls.len(), out)?;
        for index in nulls {
            write_length(index, out)?;
        }
        write_length(list.len(), out)?;
        out.extend_from_slice(&elements);
        Ok(())
    }

    fn write_variable(&self, list: &[S::Target], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(VARIABLE);
        write_length(list.len(), out)?;
        for element in list {
            let at = out.len();
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            if self.element.serialize_nullable(element, out)? {
                let length = i32::try_from(out.len() - at - 4).map_err(SerdeError::other)?;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn read_fixed(&self, mut bytes: &[u8]) -> Result<Vec<S::Target>, SerdeError> {
        let size = self.element_bytes.ok_or_else(malformed)?;
        let mut nulls = Vec::new();
        for _ in 0..read_length(&mut bytes)? {
            nulls.push(read_length(&mut bytes)?);
        }
        let count = read_length(&mut bytes)?;
        let read = |index: i32| {
            if nulls.contains(&index) {
                return self.null();
            }
            let (element, rest) = bytes.split_at_checked(size).ok_or_else(malformed)?;
            bytes = rest;
            self.element.deserialize(element)
        };
        (0..count).map(read).collect()
    }

    fn read_variable(&self, mut bytes: &[u8]) -> Result<Vec<S::Target>, SerdeError> {
        let count = read_length(&mut bytes)?;
        let read = |_| {
            let Ok(length) = usize::try_from(read_length(&mut bytes)?) else { return self.null() };
            let (element, rest) = bytes.split_at_checked(length).ok_or_else(malformed)?;
            bytes = rest;
            self.element.deserialize(element)
        };
        (0..count).map(read).collect()
    }
}

fn malformed() -> SerdeError {
    SerdeError::other("these are not the bytes of a list")
}

fn write_length(length: usize, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    let length = i32::try_from(length).map_err(SerdeError::other)?;
    out.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

fn read_length(bytes: &mut &[u8]) -> Result<i32, SerdeError> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
    *bytes = rest;
    Ok(i32::from_be_bytes(*length))
}

impl<S: Serde> Serde for ListSerde<S> {
    type Target = Vec<S::Target>;

    fn serialize(&self, list: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self.element_bytes {
            Some(_) => self.write_fixed(list, out),
            None => self.write_variable(list, out),
        }
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        match bytes.split_first() {
            Some((&FIXED, rest)) => self.read_fixed(rest),
            Some((&VARIABLE, rest)) => self.read_variable(rest),
            _ => Err(malformed()),
        }
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        ListSerde { element: self.element.for_topic(topic, is_key), element_bytes: self.element_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<S: Serde<Target: PartialEq + std::fmt::Debug>>(
        serde: ListSerde<S>,
        list: Vec<S::Target>,
        hex: &str,
    ) {
        let mut bytes = Vec::new();
        serde.serialize(&list, &mut bytes).unwrap();
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
        assert_eq!(serde.deserialize(&bytes).unwrap(), list);
    }

    #[test]
    fn lists_have_the_bytes_that_java_gives_them() {
        let numbers = || ListSerde::of_fixed_size(Some(0_i32), 4);
        check(numbers(), vec![Some(1), Some(2)], "0000000000000000020000000100000002");
        check(numbers(), vec![Some(1), None, Some(3)], "000000000100000001000000030000000100000003");
        check(numbers(), vec![], "000000000000000000");
        let texts = || ListSerde::new(Some(String::new()));
        let text = |text: &str| Some(text.to_owned());
        check(texts(), vec![text("a"), text("bc")], "01000000020000000161000000026263");
        check(texts(), vec![text("a"), None, text("bc")], "01000000030000000161ffffffff000000026263");
        check(texts(), vec![], "0100000000");
    }

    #[test]
    fn torn_lists_are_errors() {
        for bytes in
            [&b""[..], b"\x01", b"\x01\0\0\0\x02\0\0\0\x01a", b"\x02\0\0\0\0", b"\0\0\0\0\0\0\0\0\x01"]
        {
            assert!(ListSerde::new(String::new()).deserialize(bytes).is_err(), "{bytes:?}");
        }
    }
}
