//! A store of bytes as a user might write it: a sorted map.

use std::collections::BTreeMap;

use crate::{BytesIterator, BytesStore, BytesStoreError};

#[derive(Default)]
pub(crate) struct Sorted(BTreeMap<Vec<u8>, Vec<u8>>);

impl BytesStore for Sorted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BytesStoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
    ) -> Result<BytesIterator<'_>, BytesStoreError> {
        let to = to.map(<[u8]>::to_vec);
        let is_below = move |key: &Vec<u8>| to.as_ref().is_none_or(|to| key < to);
        let entries = self.0.range(from.to_vec()..).take_while(move |(key, _)| is_below(key));
        let entries = entries.map(|(key, value)| Ok((key.clone(), value.clone())));
        Ok(match reverse {
            false => Box::new(entries),
            true => Box::new(entries.collect::<Vec<_>>().into_iter().rev()),
        })
    }

    fn write<'a>(
        &mut self,
        updates: &mut dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), BytesStoreError> {
        for (key, value) in updates {
            match value {
                Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
                None => self.0.remove(key),
            };
        }
        Ok(())
    }

    fn approximate_num_entries(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Fails at whatever is asked of it.
pub(crate) struct Broken;

impl BytesStore for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, BytesStoreError> {
        Err("out of order".into())
    }

    fn range(&self, _: &[u8], _: Option<&[u8]>, _: bool) -> Result<BytesIterator<'_>, BytesStoreError> {
        Err("out of order".into())
    }

    fn write<'a>(
        &mut self,
        _: &mut dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), BytesStoreError> {
        Err("out of order".into())
    }

    fn approximate_num_entries(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::testing::NoChangelog;
    use crate::{
        SharedStores, StateStore, StoreBuilder, StoreContext, StoreEnvironment, StoreError, Stores,
        TaskBackend,
    };

    #[test]
    fn errors_of_an_own_store_tell_which_store_and_why() {
        let builder = Stores::key_value::<String, i64>("counts").with_bytes_store(|_| Broken);
        let mut store = builder.build(&StoreEnvironment::in_memory()).unwrap();
        let (record, mut changelog) = (Default::default(), NoChangelog);
        let mut cx = StoreContext { record: &record, changelog: &mut changelog };
        let check = |error: StoreError| {
            assert!(error.to_string().starts_with("store counts: "), "{error}");
            assert_eq!(error.source().unwrap().to_string(), "out of order");
        };
        check(store.get(&"a".to_owned()).unwrap_err());
        check(store.all().err().unwrap());
        store.put(&mut cx, &"a".to_owned(), Some(&1)).unwrap();
        assert_eq!(store.get(&"a".to_owned()).unwrap(), Some(1), "what is not committed is not asked of it");
        check(store.write_commit(&mut TaskBackend::Memory.new_batch()).unwrap_err());
    }

    #[test]
    fn a_global_store_cannot_be_ones_own() {
        let builder = Stores::key_value::<String, i64>("counts").with_bytes_store(|_| Sorted::default());
        let env =
            StoreEnvironment { backend: SharedStores::new(None).writer(), ..StoreEnvironment::in_memory() };
        let error = builder.build(&env).err().unwrap();
        assert!(matches!(error, StoreError::InvalidStore { .. }), "{error}");
    }
}
