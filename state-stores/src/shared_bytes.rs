//! Encoded keys and values on their way through the layers: short ones in place, longer ones shared.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

/// Most keys and many values (numbers, with their timestamp) have no more: then no allocation is made for them, and
/// none is followed when they are compared.
const INLINE_BYTES: usize = 22;

/// Bytes that are cheap to clone.
#[derive(Clone)]
pub(crate) enum SharedBytes {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<[u8]>),
}

impl SharedBytes {
    /// Replaces the bytes, in place where no one shares them and the length allows.
    pub(crate) fn overwrite(&mut self, new: &[u8]) {
        if let SharedBytes::Shared(old) = self
            && old.len() == new.len()
            && let Some(old) = Arc::get_mut(old)
        {
            old.copy_from_slice(new);
        } else {
            *self = new.into();
        }
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(slice: &[u8]) -> Self {
        if slice.len() > INLINE_BYTES {
            return SharedBytes::Shared(slice.into());
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..slice.len()].copy_from_slice(slice);
        SharedBytes::Inline { length: slice.len() as u8, bytes }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            SharedBytes::Inline { length, bytes } => &bytes[..usize::from(*length)],
            SharedBytes::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for SharedBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedBytes {}

impl PartialOrd for SharedBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_are_kept_and_overwritten() {
        assert_eq!(size_of::<SharedBytes>(), 24);
        for old in [0, 1, 22, 23, 40] {
            for new in [0, 1, 22, 23, 40] {
                let mut bytes = SharedBytes::from(vec![1; old].as_slice());
                let kept = bytes.clone();
                bytes.overwrite(&vec![2; new]);
                assert_eq!((&*bytes, &*kept), (vec![2; new].as_slice(), vec![1; old].as_slice()));
            }
        }
    }
}
