//! split: each record goes to the first branch whose predicate holds.
//!
//! Nothing is changed, repartitioned or stored. Null is given to the predicates. A record that no branch takes goes to
//! the default branch, or nowhere when there is none. It is not counted as dropped then.

use std::sync::{Arc, Mutex, PoisonError};

use kstreams_core::processor::{ProcessResult, ProcessorContext};
use kstreams_state_stores::Record;

use super::stateless::FnProcessor;
use crate::graph::GraphNode;
use crate::options::{Branched, Named};
use crate::stream::{KStream, Upstream};

type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

/// The branches of a split as far as they were named: a predicate (none for the default branch) and a child.
type BranchList<K, V> = Arc<Mutex<Vec<(Option<Predicate<K, V>>, String)>>>;

/// A stream that is being split (`BranchedKStream`): add branches, then the default branch or none.
///
/// ```
/// use kstreams_dsl::{Branched, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// let branches = builder
///     .stream::<String, i64>("amounts")
///     .split_with("size-")
///     .branch(|_, &amount| amount > 1_000, Branched::new("large"))
///     .branch(|_, &amount| amount > 10, Branched::new("medium"))
///     .default_branch(Branched::new("small"));
/// branches.get("size-large").unwrap().to("large-amounts");
/// branches.get("size-small").unwrap().to("small-amounts");
/// # builder.build().unwrap();
/// ```
pub struct BranchedKStream<K, V> {
    stream: KStream<K, V>,
    upstream: Upstream,
    list: BranchList<K, V>,
    branches: Vec<(String, KStream<K, V>)>,
}

/// The branches of a split, in the order in which they were added.
pub struct Branches<K, V>(Vec<(String, KStream<K, V>)>);

impl<K, V> Branches<K, V> {
    /// The branch of this name: the split's name, then the branch's.
    ///
    ///
    /// ```
    /// # use kstreams_dsl::{Branched, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// let amounts = builder.stream::<String, i64>("amounts");
    /// let branches = amounts.split_with("is-").branch(|_, &n| n > 9, Branched::new("large")).no_default_branch();
    /// assert!(branches.get("is-large").is_some());
    /// # builder.build().unwrap();
    /// ```
    pub fn get(&self, name: &str) -> Option<&KStream<K, V>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, stream)| stream)
    }

    /// All branches with their names; the default branch is the last.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KStream<K, V>)> {
        self.0.iter().map(|(name, stream)| (&**name, stream))
    }

    /// The branches alone, the default branch last: `let [large, small] = ...into_array()?`. `None` when their number
    /// is another one.
    pub fn into_array<const N: usize>(self) -> Option<[KStream<K, V>; N]> {
        let streams: Vec<_> = self.0.into_iter().map(|(_, stream)| stream).collect();
        streams.try_into().ok()
    }
}

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Sends each record to the first branch whose predicate holds. Records stay as they are; null is given to the
    /// predicates.
    ///
    /// - result: the record as it came
    /// - null: is given to the predicates
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// use kstreams_dsl::{Branched, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let amounts = builder.stream::<String, i64>("amounts");
    /// let split = amounts.split().branch(|_, &n| n > 9, Branched::new("large"));
    /// let branches = split.default_branch(Branched::new("small"));
    /// let [large, small] = branches.into_array().unwrap();
    /// large.to("large");
    /// small.to("small");
    /// # builder.build().unwrap();
    /// ```
    pub fn split(&self) -> BranchedKStream<K, V> {
        self.split_with(Named::default())
    }

    /// As [`split`](Self::split), with a name, which the names of the branches begin with.
    pub fn split_with(&self, named: impl Into<Named>) -> BranchedKStream<K, V> {
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(named.into().name(), "KSTREAM-BRANCH-");
        let list: BranchList<K, V> = Arc::default();
        let node = {
            let (name, list) = (name.clone(), Arc::clone(&list));
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let branches = list.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let supplier = move || FnProcessor(route(branches.clone()));
                topology.add_processor::<K, V, K, V, _>(&name, supplier, writing.parents).map(|_| ())
            })
        };
        let node = graph.add(node);
        let upstream = self.upstream.then(node, name);
        BranchedKStream { stream: self.clone(), upstream, list, branches: Vec::new() }
    }
}

/// Forwards to the child of the first branch whose predicate holds.
fn route<K: Clone, V: Clone>(
    branches: Vec<(Option<Predicate<K, V>>, String)>,
) -> impl Fn(Record<K, V>, &mut ProcessorContext<'_, K, V>) -> ProcessResult + Send {
    move |record, ctx| {
        let holds = |predicate: &Predicate<K, V>| predicate(&record.key, &record.value);
        match branches.iter().find(|(predicate, _)| predicate.as_ref().is_none_or(holds)) {
            Some((_, child)) => ctx.pass_on_to(child, record),
            None => Ok(()),
        }
    }
}

impl<K, V> BranchedKStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Adds a branch for records that no earlier one took.
    #[must_use]
    pub fn branch(
        mut self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        branched: impl Into<Branched>,
    ) -> Self {
        let ordinal = (self.branches.len() + 1).to_string();
        self.add(Some(Arc::new(predicate)), branched.into().name().unwrap_or(&ordinal));
        self
    }

    /// Ends with a branch for what no other one took.
    pub fn default_branch(mut self, branched: impl Into<Branched>) -> Branches<K, V> {
        self.add(None, branched.into().name().unwrap_or("0"));
        Branches(self.branches)
    }

    /// Ends without a default branch: what no branch takes goes nowhere.
    pub fn no_default_branch(self) -> Branches<K, V> {
        Branches(self.branches)
    }

    fn add(&mut self, predicate: Option<Predicate<K, V>>, suffix: &str) {
        let name = format!("{}{suffix}", self.upstream.name);
        let mut graph = self.upstream.graph.lock();
        // The name is made from the split's, but an index is consumed.
        graph.names.processor("KSTREAM-BRANCHCHILD-");
        let pass = |record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, V>| ctx.pass_on(record);
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let supplier = move || FnProcessor(pass);
                topology.add_processor::<K, V, K, V, _>(&name, supplier, writing.parents).map(|_| ())
            })
        };
        let node = graph.add(node);
        drop(graph);
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((predicate, name.clone()));
        let upstream = self.upstream.then(node, name.clone());
        let serdes = (self.stream.key_serde.clone(), self.stream.value_serde.clone());
        self.branches.push((name, KStream::new(upstream, serdes.0, serdes.1)));
    }
}
