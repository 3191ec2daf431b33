//! What is null: `None` of any `Option` type, and `()`.
//!
//! Operators are generic over any key and value type, and some have to know whether a key or value is null. No bound
//! on the types can tell: a trait for all types and another for `Option` would overlap, `Any` compares with one type at a
//! time and not with every `Option<_>`, and the trick of method resolution by reference works only where the type is known
//! at the call, not inside a generic operator. So the question is answered from the type itself, once per operator, and from
//! the enum's discriminant, once per record.
//!
//! What that rests on, and why it holds:
//!
//! - The name of a type begins with the path of its definition, crate first: that of another `Option<_>` differs from that of
//!   `Option<()>` in its argument alone. A type of the user's own that is called `Option`, in a module called `option`, has
//!   another crate before it; references, tuples, lists and functions of options begin with something else. Names are
//!   compared with each other, never with a text that this library writes down, so a new way of writing them changes nothing.
//! - The discriminant of `None` is the same for every argument, for it is one enum; niches do not change it.
//!
//! Should either fail one day, no memory is at stake, for there is no `unsafe` in this: a null would be taken for a value, or the
//! other way round, and the tests below would say so.

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::mem::{Discriminant, discriminant};

/// Tells whether values of `T` are null.
pub(crate) struct Nulls<T> {
    kind: Kind,
    of: PhantomData<fn(T)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Never,
    Always,
    Option,
}

impl<T> Clone for Nulls<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Nulls<T> {}

impl<T: 'static> Nulls<T> {
    /// The test for this type.
    pub(crate) fn of() -> Self {
        let kind = if TypeId::of::<T>() == TypeId::of::<()>() {
            Kind::Always
        } else if is_option::<T>() {
            Kind::Option
        } else {
            Kind::Never
        };
        Nulls { kind, of: PhantomData }
    }

    /// Whether `value` is null.
    #[inline]
    pub(crate) fn is_null(self, value: &T) -> bool {
        match self.kind {
            Kind::Never => false,
            Kind::Always => true,
            Kind::Option => fingerprint(discriminant(value)) == fingerprint(discriminant(&None::<()>)),
        }
    }

    /// `None` for null.
    #[inline]
    pub(crate) fn present(self, value: T) -> Option<T> {
        (!self.is_null(&value)).then_some(value)
    }
}

/// Whether `T` is an `Option`: the text of its type name begins as that of any other `Option`'s. The text itself is
/// not relied upon, only that it differs in nothing but the argument; `tests` below watch that.
fn is_option<T>() -> bool {
    let sample = std::any::type_name::<Option<()>>();
    let argument = sample.find("()").unwrap_or(sample.len());
    let name = std::any::type_name::<T>();
    name.starts_with(&sample[..argument]) && name.ends_with(&sample[argument + 2..])
}

/// A discriminant as a number, to compare those of different `Option` types. It is the same for all of them, because it
/// is taken from the same variant of the same enum.
fn fingerprint<T>(discriminant: Discriminant<T>) -> u64 {
    let mut bits = Bits(0);
    discriminant.hash(&mut bits);
    bits.finish()
}

struct Bits(u64);

impl Hasher for Bits {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types of a user who likes the name.
    mod option {
        #[derive(Debug, PartialEq)]
        pub(super) enum Option<T> {
            None,
            #[allow(dead_code)] // it is there to look the same
            Some(T),
        }

        pub(super) mod core {
            pub(in super::super) mod option {
                pub(in super::super::super) enum Option<T> {
                    None,
                    #[allow(dead_code)]
                    Some(T),
                }
            }
        }
    }

    #[test]
    fn types_of_the_users_own_that_are_called_option_are_none() {
        assert!(!is_option::<option::Option<u8>>());
        assert!(!is_option::<option::core::option::Option<u8>>());
        assert!(!is_option::<option::Option<Option<u8>>>());
        assert!(!Nulls::of().is_null(&option::Option::None::<u8>));
        assert!(!Nulls::of().is_null(&option::core::option::Option::None::<u8>));
        assert!(is_option::<Option<option::Option<u8>>>());
        assert!(Nulls::of().is_null(&None::<option::Option<u8>>));
        assert!(!Nulls::of().is_null(&Some(option::Option::None::<u8>)));
    }

    #[test]
    fn what_only_contains_options_is_none() {
        assert!(!is_option::<&'static Option<u8>>());
        assert!(!is_option::<Box<Option<u8>>>());
        assert!(!is_option::<[Option<u8>; 1]>());
        assert!(!is_option::<(Option<u8>,)>());
        assert!(!is_option::<fn(Option<u8>) -> Option<u8>>());
        assert!(!is_option::<Result<Option<u8>, Option<u8>>>());
        assert!(!is_option::<std::marker::PhantomData<Option<u8>>>());
    }

    /// The discriminant that values are compared by, whatever the layout: tagged, in a niche, of no size.
    #[test]
    fn none_has_one_discriminant_in_every_layout() {
        enum Never {}
        let none = fingerprint(discriminant(&None::<()>));
        assert_eq!(fingerprint(discriminant(&None::<u64>)), none);
        assert_eq!(fingerprint(discriminant(&None::<Box<u8>>)), none);
        assert_eq!(fingerprint(discriminant(&None::<bool>)), none);
        assert_eq!(fingerprint(discriminant(&None::<Option<Option<bool>>>)), none);
        assert_eq!(fingerprint(discriminant(&None::<Never>)), none);
        assert_ne!(fingerprint(discriminant(&Some(()))), none);
        assert_ne!(fingerprint(discriminant(&Some(Box::new(1)))), none);
        assert_ne!(fingerprint(discriminant(&Some(None::<bool>))), none);
    }

    #[derive(Clone)]
    enum Mine {
        None,
        Some,
    }

    #[test]
    fn none_of_any_type_is_null_and_nothing_else() {
        assert!(Nulls::of().is_null(&None::<String>));
        assert!(Nulls::of().is_null(&None::<Option<Vec<u8>>>));
        assert!(Nulls::of().is_null(&None::<Box<dyn Fn(Option<u8>) -> Option<u8>>>));
        assert!(Nulls::of().is_null(&None::<&'static str>));
        assert!(Nulls::of().is_null(&None::<bool>));
        assert!(Nulls::of().is_null(&()));
        assert!(!Nulls::of().is_null(&Some(String::new())));
        assert!(!Nulls::of().is_null(&Some(None::<u8>)));
        assert!(!Nulls::of().is_null(&Some(0_u8)));
        assert!(!Nulls::of().is_null(&0_i64));
        assert!(!Nulls::of().is_null(&vec![None::<u8>]));
        assert!(!Nulls::of().is_null(&(None::<u8>, None::<u8>)));
        assert!(!Nulls::of().is_null(&Mine::None));
        assert!(!Nulls::of().is_null(&Mine::Some));
        assert!(!Nulls::of().is_null(&Err::<u8, Option<u8>>(None)));
    }
}
