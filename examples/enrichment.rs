//! Enrichment: a stream of orders, each joined with what is known of its customer at that moment.
//!
//! ```console
//! $ cargo run --example enrichment
//! ```
//!
//! It shows a table made from a topic, a stream-table join, and JSON values. Customers change while the program runs:
//! an order gets the customer as he was when it came, and later changes don't touch it.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams::prelude::*;
use serde::{Deserialize, Serialize};
use support::{AnyError, Cluster, Input, Settings};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    number: u32,
    item: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Customer {
    name: String,
    city: String,
}

/// What goes out: an order that knows where to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shipment {
    order: u32,
    item: String,
    to: String,
}

/// Both topics have the customer's id as key, and equally many partitions: that is what lets a task hold both sides.
fn topology(orders: &str, customers: &str, shipments: &str) -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    // A table keeps the last value of each key, in a store with a changelog.
    let customers = builder.table::<String, Json<Customer>>(customers);
    builder
        .stream::<String, Json<Order>>(orders)
        // An inner join: orders of unknown customers go nowhere. With `left_join` the customer would be an `Option`.
        .join(&customers, |order, customer| Shipment {
            order: order.number,
            item: order.item.clone(),
            to: format!("{}, {}", customer.name, customer.city),
        })
        // `to` would ask the types for a serde; JSON has to be named.
        .to_with(shipments, Produced::<String, Json<Shipment>>::new());
    builder.build()
}

/// Runs the example and returns the shipments by order number.
async fn run(settings: &Settings) -> Result<BTreeMap<u32, Shipment>, AnyError> {
    let cluster = Cluster::open(settings).await?;
    let (orders, customers, shipments) =
        (settings.name("orders"), settings.name("customers"), settings.name("shipments"));
    for topic in [&orders, &customers, &shipments] {
        cluster.create_topic(topic, 2).await?;
    }
    let config = StreamsConfig::new(settings.name("enrichment"), &cluster.bootstrap_servers)
        .state_dir(settings.state_dir())
        .commit_interval(Duration::from_secs(1))
        // Of two inputs the older record goes first. Waiting a little for an empty input keeps that order when one
        // topic arrives later than the other.
        .max_task_idle(MaxTaskIdle::Wait(Duration::from_millis(500)));
    let streams = KafkaStreams::new(topology(&orders, &customers, &shipments)?, config)?;
    streams.start().await?;

    let customer =
        |id, name: &str, city: &str| to_json(id, &Customer { name: name.to_owned(), city: city.to_owned() });
    let order = |id, number, item: &str| to_json(id, &Order { number, item: item.to_owned() });

    println!("customers: Ada in London, Niels in Copenhagen");
    cluster
        .produce(&customers, [customer("c1", "Ada", "London")?, customer("c2", "Niels", "Copenhagen")?])?;
    cluster
        .produce(&orders, [order("c1", 1, "tea")?, order("c2", 2, "coffee")?, order("c3", 3, "nothing")?])?;
    let output = cluster.tail(&shipments, 2)?;
    let mut seen = BTreeMap::new();
    show(&output, &mut seen, &[1, 2]).await?;

    println!("customers: Ada moves to Oslo");
    cluster.produce(&customers, [customer("c1", "Ada", "Oslo")?])?;
    cluster.produce(&orders, [order("c1", 4, "more tea")?, order("c2", 5, "more coffee")?])?;
    show(&output, &mut seen, &[4, 5]).await?;

    streams.close(Duration::from_secs(30)).await;
    cluster.close().await?;
    Ok(seen)
}

fn to_json(key: &str, value: &impl Serialize) -> Result<Input, AnyError> {
    Ok(Input::keyed(key, serde_json::to_string(value)?))
}

/// Prints shipments until the orders asked for are among them.
async fn show(
    output: &support::Tail,
    seen: &mut BTreeMap<u32, Shipment>,
    orders: &[u32],
) -> Result<(), AnyError> {
    output
        .each(|_, value| {
            let shipment: Shipment = serde_json::from_slice(value)?;
            println!("  order {}: {} to {}", shipment.order, shipment.item, shipment.to);
            seen.insert(shipment.order, shipment);
            Ok(orders.iter().all(|order| seen.contains_key(order)))
        })
        .await
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let shipments = run(&Settings::fresh("enrichment")).await?;
    // The example checks itself: the first tea went to London, the second to Oslo, order 3 nowhere.
    let to = |order| shipments.get(&order).map(|shipment| shipment.to.as_str());
    assert_eq!(to(1), Some("Ada, London"));
    assert_eq!(to(4), Some("Ada, Oslo"));
    assert_eq!(to(3), None);
    Ok(())
}
