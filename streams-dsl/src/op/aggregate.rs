//! How values enter an aggregate: what count, reduce and aggregate differ in. The nodes that keep the aggregates (see
//! `aggregate_table`, and `table_aggregate` for grouped tables) are the same for the three.
//!
//! An aggregate that is null (`None`) is not there: it deletes the row, and the next value starts anew.

use std::sync::Arc;

use crate::null::Nulls;

/// The aggregate before the first value; `None`: there is none.
type Initial<A> = Arc<dyn Fn() -> Option<A> + Send + Sync>;

/// The aggregate with one more value.
type Apply<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> Option<A> + Send + Sync>;

/// The aggregate of two sessions that became one: of what is merged so far, if anything, and of the next session.
pub(crate) type Merge<K, A> = Arc<dyn Fn(&K, Option<A>, A) -> Option<A> + Send + Sync>;

/// How a value enters an aggregate.
pub(crate) struct Aggregation<K, V, A> {
    /// The prefix of generated names.
    pub(crate) prefix: &'static str,
    pub(crate) initial: Initial<A>,
    pub(crate) apply: Apply<K, V, A>,
    /// Asked for sessions only.
    pub(crate) merge: Merge<K, A>,
}

impl<K, V, A> Clone for Aggregation<K, V, A> {
    fn clone(&self) -> Self {
        Aggregation {
            prefix: self.prefix,
            initial: Arc::clone(&self.initial),
            apply: Arc::clone(&self.apply),
            merge: Arc::clone(&self.merge),
        }
    }
}

impl<K, V> Aggregation<K, V, i64> {
    /// The number of values.
    pub(crate) fn count() -> Self {
        Aggregation {
            prefix: "KSTREAM-AGGREGATE-",
            initial: Arc::new(|| Some(0)),
            apply: Arc::new(|_, _, count| Some(count.unwrap_or(0) + 1)),
            merge: Arc::new(|_, merged, session| Some(merged.unwrap_or(0) + session)),
        }
    }
}

impl<K, V: 'static> Aggregation<K, V, V> {
    /// The values combined; the first one is the aggregate of itself.
    pub(crate) fn reduce(reducer: impl Fn(V, V) -> V + Send + Sync + 'static) -> Self {
        let nulls = Nulls::of();
        let add = move |aggregate: Option<V>, value: V| match aggregate {
            None => nulls.present(value),
            Some(aggregate) => nulls.present(reducer(aggregate, value)),
        };
        let add = Arc::new(add);
        let merge = Arc::clone(&add);
        Aggregation {
            prefix: "KSTREAM-REDUCE-",
            initial: Arc::new(|| None),
            apply: Arc::new(move |_, value, aggregate| add(aggregate, value)),
            merge: Arc::new(move |_, merged, session| merge(merged, session)),
        }
    }
}

impl<K, V, A: 'static> Aggregation<K, V, A> {
    /// Values added to an aggregate of another type.
    pub(crate) fn aggregate(
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> Self {
        let nulls = Nulls::of();
        let initializer = Arc::new(initializer);
        let initial = Arc::clone(&initializer);
        Aggregation {
            prefix: "KSTREAM-AGGREGATE-",
            initial: Arc::new(move || nulls.present(initial())),
            apply: Arc::new(move |key, value, aggregate| {
                // An initializer that gives null has no aggregate to hand over: it is asked again.
                nulls.present(aggregator(key, value, aggregate.unwrap_or_else(|| initializer())))
            }),
            merge: Arc::new(|_, _, session| Some(session)),
        }
    }

    /// As [`aggregate`](Self::aggregate), for sessions.
    pub(crate) fn aggregate_sessions(
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> Self {
        let initializer = Arc::new(initializer);
        let start = Arc::clone(&initializer);
        Aggregation {
            // A merger that gives null has it handed on, to itself and to the aggregator, as in the JVM.
            merge: Arc::new(move |key, merged, session| {
                Some(merger(key, merged.unwrap_or_else(|| start()), session))
            }),
            ..Aggregation::aggregate(move || initializer(), aggregator)
        }
    }
}
