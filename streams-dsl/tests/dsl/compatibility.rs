//! What a changed program says about the stores and topics of the one before.

use kstreams_core::Topology;
use kstreams_core::topology::{MovedStore, Orphan};
use kstreams_dsl::{ByType, Consumed, Grouped, Materialized, StreamsBuilder};

/// Counts the words of a topic, after `filters` more operators.
fn words(filters: usize, store: Option<&str>, grouping: Option<&str>) -> Topology {
    let builder = StreamsBuilder::new();
    let mut words = builder.stream::<String, String>("words");
    for _ in 0..filters {
        words = words.filter(|_, word| !word.is_empty());
    }
    let grouped = match grouping {
        Some(name) => Grouped::named(name),
        None => Grouped::with(ByType, ByType),
    };
    let counts = words.group_by_with(|_, word| word.clone(), grouped);
    counts.count(store.map_or_else(Materialized::default, Materialized::named)).to_stream().to("counts");
    builder.build().unwrap()
}

#[test]
fn a_topology_is_compatible_with_itself() {
    let topology = words(0, None, None);
    let found = topology.compatibility(&topology.describe().to_string()).unwrap();
    assert!(found.is_compatible());
    assert_eq!(found.to_string(), "compatible with the earlier topology\n");
}

#[test]
fn an_operator_more_renames_what_has_generated_names() {
    let earlier = words(0, None, None).describe().to_string();
    let found = words(1, None, None).compatibility(&earlier).unwrap();
    assert!(!found.is_compatible());
    let (old, new) = ("KSTREAM-AGGREGATE-STATE-STORE-0000000002", "KSTREAM-AGGREGATE-STATE-STORE-0000000003");
    assert_eq!(found.orphaned_stores, [Orphan { name: old.to_owned(), renamed_to: Some(new.to_owned()) }]);
    let topic = |store: &str| format!("{store}-repartition");
    assert_eq!(found.orphaned_topics, [Orphan { name: topic(old), renamed_to: Some(topic(new)) }]);
    assert_eq!((found.new_stores.len(), found.new_topics.len()), (1, 1));
    let text = found.to_string();
    assert!(text.contains(&format!("give the operator the store name {old}")), "{text}");
    assert!(!text.contains("is new"), "a renamed store is told once: {text}");
}

#[test]
fn names_given_by_hand_survive_changes() {
    let earlier = words(0, Some("counts"), Some("by-word")).describe().to_string();
    assert!(words(3, Some("counts"), Some("by-word")).compatibility(&earlier).unwrap().is_compatible());
}

#[test]
fn what_is_gone_or_new_or_moved_is_told() {
    let earlier = words(0, Some("counts"), Some("by-word")).describe().to_string();
    let builder = StreamsBuilder::new();
    builder.table_with("prices", Consumed::<String, i64>::new(), Materialized::named("prices"));
    let words = builder.stream::<String, String>("words");
    words.group_by_key().count(Materialized::named("counts"));
    let found = builder.build().unwrap().compatibility(&earlier).unwrap();
    assert_eq!(found.orphaned_stores, []);
    let gone = Orphan { name: "by-word-repartition".to_owned(), renamed_to: None };
    assert_eq!(found.orphaned_topics, [gone]);
    assert_eq!(found.new_stores, ["prices"]);
    assert_eq!(found.moved_stores, [], "the counts were in sub-topology 1 and are there");

    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("words").group_by_key().count(Materialized::named("counts"));
    let found = builder.build().unwrap().compatibility(&earlier).unwrap();
    assert_eq!(found.moved_stores, [MovedStore { name: "counts".to_owned(), from: 1, to: 0 }]);
    assert!(found.to_string().contains("restore it from its changelog"));
}

#[test]
fn a_text_that_is_no_description_is_refused() {
    let error = words(0, None, None).compatibility("something else").unwrap_err();
    assert!(error.to_string().contains("describe()"), "{error}");
}
