//! The one counter from which generated names come (`InternalStreamsBuilder.newProcessorName`, `.newStoreName`).
//!
//! It counts every name that is asked for, used or not: names decide about topics and state, so the index of a later
//! operator must not depend on whether an earlier one was given a name by the user.

use std::collections::BTreeSet;

/// Generates names; one per builder.
#[derive(Debug, Default, Clone)]
pub(crate) struct Names {
    next: u32,
    generated: BTreeSet<String>,
    /// Stores that the user would have to name where names have to be explicit, whether they come to be or not.
    unnamed_stores: BTreeSet<String>,
}

impl Names {
    /// `<prefix><index of 10 digits>`.
    pub(crate) fn processor(&mut self, prefix: &str) -> String {
        let index = self.next;
        self.next += 1;
        let name = format!("{prefix}{index:010}");
        self.generated.insert(name.clone());
        name
    }

    /// Whether a name was made here, not by the user.
    pub(crate) fn is_generated(&self, name: &str) -> bool {
        self.generated.contains(name)
    }

    /// `<prefix>STATE-STORE-<index>`, of a store that the user did not name.
    pub(crate) fn store(&mut self, prefix: &str) -> String {
        let name = self.store_index(prefix);
        self.note_unnamed_store(&name);
        name
    }

    /// As [`store`](Self::store), where no store is made of it, or one that needs no name of the user's.
    pub(crate) fn store_index(&mut self, prefix: &str) -> String {
        self.processor(&format!("{prefix}STATE-STORE-"))
    }

    /// A store has a name made of generated ones.
    pub(crate) fn note_unnamed_store(&mut self, name: &str) {
        self.unnamed_stores.insert(name.to_owned());
    }

    /// Stores that the user did not name but should have, were names to be explicit.
    pub(crate) fn unnamed_stores(&self) -> &BTreeSet<String> {
        &self.unnamed_stores
    }

    /// The user's name, or else a generated one; the index is consumed either way.
    pub(crate) fn or_processor(&mut self, given: Option<&str>, prefix: &str) -> String {
        let generated = self.processor(prefix);
        given.map_or(generated, str::to_owned)
    }

    /// The user's name with a suffix, or else a generated one; the index is consumed either way.
    pub(crate) fn or_suffixed(&mut self, given: Option<&str>, suffix: &str, prefix: &str) -> String {
        let generated = self.processor(prefix);
        given.map_or(generated, |given| format!("{given}{suffix}"))
    }
}

/// Whether a repartition topic's prefix is a name that was generated for a stream operator and so ends in an index
/// (`KSTREAM.*-[0-9]{10}`): then its nodes have generated names too.
pub(crate) fn is_generated_stream_name(prefix: &str) -> bool {
    let Some((head, digits)) = prefix.split_at_checked(prefix.len().saturating_sub(10)) else { return false };
    digits.len() == 10
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && head.starts_with("KSTREAM")
        && head.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_asked_for_takes_an_index() {
        let mut names = Names::default();
        assert_eq!(names.or_processor(Some("mine"), "KSTREAM-MAP-"), "mine");
        assert_eq!(names.store("KSTREAM-AGGREGATE-"), "KSTREAM-AGGREGATE-STATE-STORE-0000000001");
        assert_eq!(names.or_suffixed(None, "-sink", "KSTREAM-SINK-"), "KSTREAM-SINK-0000000002");
    }

    #[test]
    fn generated_stream_names_are_told_from_users_names() {
        assert!(is_generated_stream_name("KSTREAM-AGGREGATE-STATE-STORE-0000000002"));
        assert!(!is_generated_stream_name("COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000002"));
        assert!(!is_generated_stream_name("counts"));
        assert!(!is_generated_stream_name("KSTREAM-00000000023"));
    }
}
