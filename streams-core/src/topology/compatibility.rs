//! What a changed topology would do to the stores and internal topics of the one that ran before.
//!
//! Names decide: a store's changelog and a repartition topic are named after them, so one whose name is gone is orphaned
//! with what is in it, and one with a new name starts empty. Names that were not given by hand carry a number that counts
//! all operators before, so that an operator more or less renames what comes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Topology;
use crate::error::TopologyError;

/// A store or an internal topic that the changed topology no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its name; a topic's is without the application's prefix.
    pub name: String,
    /// What has taken its place, as far as that can be told: the same kind of operator, with another number in a
    /// generated name.
    pub renamed_to: Option<String>,
}

/// A store that other tasks have now: they restore it from its changelog, nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedStore {
    /// Its name.
    pub name: String,
    /// Number of the sub-topology that it was in.
    pub from: u32,
    /// Number of the sub-topology that it is in.
    pub to: u32,
}

/// The answer of [`Topology::compatibility`]. Its text says what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopologyCompatibility {
    /// Stores that are gone, and with them what their changelogs hold.
    pub orphaned_stores: Vec<Orphan>,
    /// Repartition topics that are gone: what is in them and was not processed yet would be lost.
    pub orphaned_topics: Vec<Orphan>,
    /// Stores that start empty.
    pub new_stores: Vec<String>,
    /// Repartition topics that will be made.
    pub new_topics: Vec<String>,
    /// Stores that other tasks have now.
    pub moved_stores: Vec<MovedStore>,
}

impl TopologyCompatibility {
    /// Whether the changed topology goes on with all stores and internal topics of the earlier one.
    pub fn is_compatible(&self) -> bool {
        self.orphaned_stores.is_empty() && self.orphaned_topics.is_empty()
    }
}

impl Topology {
    /// Compares this topology with an earlier one of the same application, given as the text of its
    /// [`describe`](Topology::describe) (the JVM's text serves as well), and tells which stores and internal topics would be
    /// orphaned, renamed, made or moved. Ask it before an upgrade, for example in a test that keeps the text of what runs.
    ///
    /// Not seen are changes that leave names as they are: other serdes, other windows, another number of partitions.
    ///
    /// ```
    /// use kstreams_core::Topology;
    ///
    /// let mut earlier = Topology::new();
    /// earlier.add_source::<String, String>("lines", "input")?;
    /// let text = earlier.describe().to_string();
    /// let found = earlier.compatibility(&text)?;
    /// assert!(found.is_compatible(), "{found}");
    /// # Ok::<(), kstreams_core::TopologyError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not that of a description.
    pub fn compatibility(&self, old_description: &str) -> Result<TopologyCompatibility, TopologyError> {
        let (old, new) = (Names::parse(old_description)?, Names::parse(&self.describe().to_string())?);
        let gone = |old: Vec<&String>, new: &[String]| {
            let mut free: Vec<&String> = new.iter().collect();
            let orphans = old.into_iter().map(|name| {
                let place = free.iter().position(|new| without_number(new) == without_number(name));
                Orphan { name: name.clone(), renamed_to: place.map(|at| free.remove(at).clone()) }
            });
            orphans.collect()
        };
        let absent = |from: &[String], other: &Names, of: fn(&Names) -> Vec<String>| -> Vec<String> {
            let other: BTreeSet<String> = of(other).into_iter().collect();
            from.iter().filter(|name| !other.contains(*name)).cloned().collect()
        };
        let new_stores = absent(&new.store_names(), &old, Names::store_names);
        let old_stores = absent(&old.store_names(), &new, Names::store_names);
        let new_topics = absent(&new.topics, &old, |names| names.topics.clone());
        let old_topics = absent(&old.topics, &new, |names| names.topics.clone());
        let moved = old.stores.iter().filter_map(|(name, from)| {
            let (_, to) = new.stores.iter().find(|(new, _)| new == name)?;
            (from != to).then(|| MovedStore { name: name.clone(), from: *from, to: *to })
        });
        Ok(TopologyCompatibility {
            orphaned_stores: gone(old_stores.iter().collect(), &new_stores),
            orphaned_topics: gone(old_topics.iter().collect(), &new_topics),
            moved_stores: moved.collect(),
            new_stores,
            new_topics,
        })
    }
}

/// The name without the number of a generated one.
fn without_number(name: &str) -> String {
    let mut kept = String::with_capacity(name.len());
    let mut parts = name.split('-').peekable();
    while let Some(part) = parts.next() {
        let is_number = part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_digit());
        kept.push_str(if is_number { "#" } else { part });
        if parts.peek().is_some() {
            kept.push('-');
        }
    }
    kept
}

/// What a description names.
#[derive(Default)]
struct Names {
    /// Each store and its sub-topology, in the text's order.
    stores: Vec<(String, u32)>,
    /// Topics that the topology both writes and reads, and that are named as internal ones.
    topics: Vec<String>,
}

impl Names {
    fn parse(text: &str) -> Result<Self, TopologyError> {
        if !text.trim_start().starts_with("Topologies:") {
            return Err(TopologyError::Invalid(
                "the text to compare with is no description of a topology: give what describe() printed, from the line \
                 `Topologies:` on"
                    .to_owned(),
            ));
        }
        let mut names = Names::default();
        let (mut written, mut read) = (BTreeSet::new(), BTreeMap::new());
        let mut part = 0;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("Sub-topology: ") {
                part = rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(part);
            } else if line.starts_with("Processor: ") {
                for store in listed(line, "(stores: [", "])") {
                    if names.stores.iter().all(|(known, _)| *known != store) {
                        names.stores.push((store, part));
                    }
                }
            } else if line.starts_with("Sink: ") {
                written.extend(listed(line, "(topic: ", ")"));
            } else if line.starts_with("Source: ") {
                for topic in listed(line, "(topics: [", "])") {
                    let place = read.len();
                    read.entry(topic).or_insert(place);
                }
            }
        }
        let mut internal: Vec<_> =
            read.into_iter().filter(|(topic, _)| written.contains(topic) && is_internal(topic)).collect();
        internal.sort_by_key(|(_, place)| *place);
        names.topics = internal.into_iter().map(|(topic, _)| topic).collect();
        Ok(names)
    }

    fn store_names(&self) -> Vec<String> {
        self.stores.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The names between two marks of a line, separated by commas.
fn listed(line: &str, from: &str, to: &str) -> Vec<String> {
    let inside =
        line.split_once(from).and_then(|(_, rest)| rest.rsplit_once(to)).map_or("", |(inside, _)| inside);
    inside.split(", ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Repartition topics and those of joins by a foreign key, by the endings of their names.
fn is_internal(topic: &str) -> bool {
    let of_join = topic.contains("SUBSCRIPTION-RE") || topic.contains("-subscription-re");
    topic.ends_with("-repartition") || (topic.ends_with("-topic") && of_join)
}

impl fmt::Display for TopologyCompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_compatible() { "compatible" } else { "not compatible" };
        writeln!(f, "{verdict} with the earlier topology")?;
        for Orphan { name, renamed_to } in &self.orphaned_stores {
            write!(f, "  store {name} is gone, its changelog <application>-{name}-changelog is orphaned")?;
            match renamed_to {
                Some(new) => writeln!(
                    f,
                    ": {new} is in its place and starts empty; give the operator the store name {name}"
                )?,
                None => writeln!(f, "; delete the topic if the state is no longer needed")?,
            }
        }
        for Orphan { name, renamed_to } in &self.orphaned_topics {
            write!(f, "  repartition topic {name} is gone, what is not processed yet in it would be lost")?;
            match renamed_to {
                Some(new) => {
                    writeln!(f, ": {new} is in its place; name the grouping, join or repartition as before")?
                }
                None => writeln!(f, "; let the earlier topology read it to its end first")?,
            }
        }
        let renamed = |orphans: &[Orphan], name: &String| {
            orphans.iter().any(|orphan| orphan.renamed_to.as_ref() == Some(name))
        };
        for name in self.new_stores.iter().filter(|name| !renamed(&self.orphaned_stores, name)) {
            writeln!(f, "  store {name} is new and starts empty")?;
        }
        for name in self.new_topics.iter().filter(|name| !renamed(&self.orphaned_topics, name)) {
            writeln!(f, "  repartition topic {name} is new")?;
        }
        for MovedStore { name, from, to } in &self.moved_stores {
            writeln!(
                f,
                "  store {name} moves from sub-topology {from} to {to}: its tasks restore it from its changelog"
            )?;
        }
        Ok(())
    }
}
