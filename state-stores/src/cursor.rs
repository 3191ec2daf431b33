//! Ordered reads: cursors over one layer, and the merge of the layers, where an upper one hides what is below it.

use crate::StoreError;
use crate::shared_bytes::SharedBytes;

/// Keys from `lower` up to, but without, `upper`, as unsigned bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) lower: Vec<u8>,
    /// `None`: to the end.
    pub(crate) upper: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Self {
        let mut upper = prefix.to_vec();
        // The least key above: cut trailing 0xff, add one to what is then last.
        while upper.last() == Some(&0xff) {
            upper.pop();
        }
        let bounded = match upper.last_mut() {
            Some(last) => {
                *last += 1;
                true
            }
            None => false,
        };
        KeyRange { lower: prefix.to_vec(), upper: bounded.then_some(upper) }
    }

    pub(crate) fn upper_bound(&self) -> std::ops::Bound<&[u8]> {
        match &self.upper {
            Some(upper) => std::ops::Bound::Excluded(upper),
            None => std::ops::Bound::Unbounded,
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key >= &*self.lower && self.upper.as_deref().is_none_or(|upper| key < upper)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.upper.as_ref().is_some_and(|upper| *upper <= self.lower)
    }
}

/// The least key above `key`.
pub(crate) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// An ordered read of one layer, standing on an entry or at the end; in reverse, "first" and "after" are turned round.
pub(crate) trait Cursor {
    /// The entry it stands on: key and value, where no value is a tombstone. `None` at the end.
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)>;

    /// Goes to the next entry.
    fn advance(&mut self) -> Result<(), StoreError>;

    /// Goes to the first entry at or after `target` in its range.
    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError>;
}

/// Several layers as one: of equal keys the first layer's counts.
pub(crate) struct Merged<'a> {
    layers: Vec<Box<dyn Cursor + Send + 'a>>,
    reverse: bool,
    current: Option<usize>,
    key: Vec<u8>,
}

impl<'a> Merged<'a> {
    /// `layers` from the uppermost down, all in the same direction.
    pub(crate) fn new(layers: Vec<Box<dyn Cursor + Send + 'a>>, reverse: bool) -> Self {
        let mut merged = Merged { layers, reverse, current: None, key: Vec::new() };
        merged.choose();
        merged
    }

    fn choose(&mut self) {
        let mut best: Option<(usize, &[u8])> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let Some((key, _)) = layer.entry() else { continue };
            let comes_first = match best {
                None => true,
                Some((_, first)) if self.reverse => key > first,
                Some((_, first)) => key < first,
            };
            if comes_first {
                best = Some((index, key));
            }
        }
        self.current = best.map(|(index, _)| index);
    }
}

impl Cursor for Merged<'_> {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.current.and_then(|index| self.layers[index].entry())
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        let Some(current) = self.current else { return Ok(()) };
        if let Some((key, _)) = self.layers[current].entry() {
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        for layer in &mut self.layers {
            if layer.entry().is_some_and(|(key, _)| *key == *self.key) {
                layer.advance()?;
            }
        }
        self.choose();
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        for layer in &mut self.layers {
            layer.seek(target)?;
        }
        self.choose();
        Ok(())
    }
}

/// What a [`Selection`] says of a key.
pub(crate) enum Verdict {
    /// Part of the result.
    Take,
    /// Not part of it.
    Pass,
    /// Not part of it, and nothing is before this key.
    SkipTo(Vec<u8>),
}

/// Chooses keys out of a range, jumping over stretches that hold none.
pub(crate) trait Selection {
    fn judge(&self, key: &[u8], reverse: bool) -> Verdict;
}

/// The entries of a cursor that a selection takes.
pub(crate) struct Selected<'a, S> {
    cursor: Box<dyn Cursor + Send + 'a>,
    selection: S,
    reverse: bool,
}

impl<'a, S: Selection> Selected<'a, S> {
    pub(crate) fn new(
        cursor: Box<dyn Cursor + Send + 'a>,
        selection: S,
        reverse: bool,
    ) -> Result<Self, StoreError> {
        let mut selected = Selected { cursor, selection, reverse };
        selected.settle()?;
        Ok(selected)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        while let Some((key, _)) = self.cursor.entry() {
            match self.selection.judge(key, self.reverse) {
                Verdict::Take => break,
                Verdict::Pass => self.cursor.advance()?,
                Verdict::SkipTo(target) => self.cursor.seek(&target)?,
            }
        }
        Ok(())
    }
}

impl<S: Selection> Cursor for Selected<'_, S> {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.cursor.entry()
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.cursor.advance()?;
        self.settle()
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        self.cursor.seek(target)?;
        self.settle()
    }
}

/// Entries copied out of a layer, so that another thread can read on while the layer changes.
pub(crate) struct CopiedCursor {
    entries: Vec<(SharedBytes, Option<SharedBytes>)>,
    position: usize,
    reverse: bool,
}

impl CopiedCursor {
    /// Copies what is left of `cursor`.
    pub(crate) fn of(cursor: &mut dyn Cursor, reverse: bool) -> Result<Self, StoreError> {
        let mut entries = Vec::new();
        while let Some((key, value)) = cursor.entry() {
            entries.push((key.into(), value.map(Into::into)));
            cursor.advance()?;
        }
        Ok(CopiedCursor { entries, position: 0, reverse })
    }
}

impl Cursor for CopiedCursor {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.entries.get(self.position).map(|(key, value)| (&**key, value.as_deref()))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.position += 1;
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        let reverse = self.reverse;
        self.position =
            self.entries.partition_point(|(key, _)| if reverse { **key > *target } else { **key < *target });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_before_the_next_prefix() {
        let range = KeyRange::of_prefix(b"a\xff\xff");
        assert_eq!(range.upper.as_deref(), Some(&b"b"[..]));
        assert!(range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b"));
        assert_eq!(KeyRange::of_prefix(b"\xff").upper, None, "nothing is above a prefix of 0xff");
        assert_eq!(KeyRange::of_prefix(b"").upper, None);
    }
}
