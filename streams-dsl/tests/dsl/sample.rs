//! The sample of the design compiles as it is and gives the topology that it should.

use kstreams_core::TopologyError;
use kstreams_dsl::{Materialized, Produced, StreamsBuilder};
use kstreams_state_stores::Json;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Order {
    amount: i64,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Customer {
    name: String,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Enriched {
    amount: i64,
    customer: String,
}

impl Enriched {
    fn new(order: Order, customer: Customer) -> Self {
        Enriched { amount: order.amount, customer: customer.name }
    }
}

#[test]
#[allow(clippy::redundant_closure)] // the sample stands as the design has it
fn the_sample_of_the_design_compiles_and_describes() -> Result<(), TopologyError> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>("lines")
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("counts"))
        .to_stream()
        .to("word-counts");

    let orders = builder.stream::<String, Json<Order>>("orders");
    let customers = builder.table::<String, Json<Customer>>("customers");
    orders
        .join(&customers, |order, customer| Enriched::new(order, customer))
        .to_with("enriched-orders", Produced::<String, Json<Enriched>>::new());

    let topology = builder.build()?;
    let description = topology.describe();
    assert_eq!(description.sub_topologies.len(), 3);
    assert!(description.to_string().contains("Processor: KSTREAM-AGGREGATE-0000000003 (stores: [counts])"));
    assert_eq!(topology.copartition_groups().len(), 1);
    Ok(())
}
