//! Asynchronous enrichment: the price of each order is asked for over HTTP, from a service that fails now and then.
//!
//! ```console
//! $ cargo run --example async_enrichment
//! ```
//!
//! It shows `map_values_async`: many calls at once, the order of each customer kept, time-outs, retries, and a dead letter
//! for what fails in the end. The service is in this program, and made to fail: every third answer is an error, the first
//! request for tea gets none at all, and nobody has heard of unobtainium.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kstreams::handlers::LogAndContinue;
use kstreams::prelude::*;
use serde::{Deserialize, Serialize};
use support::{AnyError, Cluster, Input, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    number: u32,
    item: String,
    pieces: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PricedOrder {
    order: Order,
    cents: u64,
}

/// What a call can fail with.
#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("the price service has no {item}")]
    Unknown { item: String },
    #[error("the price service answered {status}")]
    Status { status: String },
}

/// `prices` is the address of the service.
fn topology(orders: &str, priced: &str, prices: String) -> Result<Topology, TopologyError> {
    let options = AsyncOptions::new()
        // Per task, and there is one for each partition.
        .with_max_in_flight(16)
        .with_timeout(Duration::from_millis(500))
        .with_retries(5)
        .with_backoff(Duration::from_millis(20), Duration::from_millis(200))
        // To ask again for what does not exist would help nobody.
        .with_retry_if(|error| !matches!(error.downcast_ref(), Some(PriceError::Unknown { .. })));
    let prices: Arc<str> = prices.into();
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, Json<Order>>(orders)
        // The future must own what it uses.
        .map_values_async(options, move |order| {
            let prices = prices.clone();
            async move {
                let cents = price_of(&prices, &order.item).await? * order.pieces;
                Ok(PricedOrder { order, cents })
            }
        })
        .to_with(priced, Produced::<String, Json<PricedOrder>>::new());
    builder.build()
}

/// `GET /<item>`. (In a program of yours: a shared client of an HTTP crate.)
async fn price_of(address: &str, item: &str) -> Result<u64, AnyError> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /{item} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer that is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(body.trim().parse()?),
        "404" => Err(PriceError::Unknown { item: item.to_owned() }.into()),
        _ => Err(PriceError::Status { status: status.to_owned() }.into()),
    }
}

/// The price service: its address, and how many requests it has seen. A cent for each letter.
async fn price_service() -> Result<(String, Arc<AtomicUsize>), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (requests, teas) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = requests.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
            let teas = teas.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, number, &teas).await {
                    tracing::debug!(%error, "a client went away");
                }
            });
        }
    });
    Ok((address, seen))
}

async fn answer(stream: TcpStream, number: usize, teas: &AtomicUsize) -> Result<(), AnyError> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let item = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    // The rest of the head.
    while stream.read_line(&mut line).await? > 2 {}
    if item == "tea" && teas.fetch_add(1, Ordering::Relaxed) == 0 {
        std::future::pending::<()>().await;
    }
    let answer = match item.as_str() {
        "unobtainium" => "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ if number.is_multiple_of(3) => "503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        item => {
            let price = item.len().to_string();
            format!("200 OK\r\nContent-Length: {}\r\n\r\n{price}", price.len())
        }
    };
    stream.get_mut().write_all(format!("HTTP/1.1 {answer}").as_bytes()).await?;
    Ok(())
}

const ITEMS: [&str; 5] = ["tea", "coffee", "milk", "honey", "bread"];
const CUSTOMERS: u32 = 8;
const ORDERS: u32 = 60;

/// Runs the example: the priced orders of each customer as they were written, and the orders in the dead letter topic.
async fn run(settings: &Settings) -> Result<(BTreeMap<String, Vec<PricedOrder>>, Vec<Order>), AnyError> {
    let cluster = Cluster::open(settings).await?;
    let (orders, priced, failed) =
        (settings.name("orders"), settings.name("priced-orders"), settings.name("failed-orders"));
    for topic in [&orders, &priced, &failed] {
        cluster.create_topic(topic, 2).await?;
    }
    let (prices, requests) = price_service().await?;
    println!("prices     an HTTP service at {prices}, which fails now and then");

    let config = StreamsConfig::new(settings.name("async-enrichment"), &cluster.bootstrap_servers)
        .state_dir(settings.state_dir())
        .commit_interval(Duration::from_secs(1))
        // An order whose price cannot be found goes to the dead letter topic, and the others go on.
        .processing_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&failed);
    let streams = KafkaStreams::new(topology(&orders, &priced, prices)?, config)?;
    streams.start().await?;

    let input = (0..ORDERS).map(|number| {
        let item = if number == 33 { "unobtainium" } else { ITEMS[number as usize % ITEMS.len()] };
        let order = Order { number, item: item.to_owned(), pieces: u64::from(number % 4 + 1) };
        let customer = format!("customer {}", number % CUSTOMERS);
        Ok(Input::keyed(&customer, serde_json::to_string(&order)?))
    });
    cluster.produce(&orders, input.collect::<Result<Vec<_>, AnyError>>()?)?;

    let output = cluster.tail(&priced, 2)?;
    let mut by_customer: BTreeMap<String, Vec<PricedOrder>> = BTreeMap::new();
    let mut left = ORDERS - 1;
    output
        .each(|customer, value| {
            let priced: PricedOrder = serde_json::from_slice(value)?;
            println!("  {customer}: order {}, {} cents", priced.order.number, priced.cents);
            by_customer.entry(customer.to_owned()).or_default().push(priced);
            left -= 1;
            Ok(left == 0)
        })
        .await?;
    // Closing waits for what is at work, and commits.
    streams.close(Duration::from_secs(30)).await;

    let letters = cluster.read_all(&failed, 2)?;
    let failed = letters.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<_, _>>()?;
    println!("{ORDERS} orders took {} requests", requests.load(Ordering::Relaxed));
    if requests.load(Ordering::Relaxed) <= ORDERS as usize {
        return Err("the service failed now and then, so there were more requests than orders".into());
    }
    cluster.close().await?;
    Ok((by_customer, failed))
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let (by_customer, failed) = run(&Settings::fresh("async_enrichment")).await?;
    // The example checks itself: each customer's orders are priced right and in their order, all but one.
    assert_eq!(by_customer.len(), CUSTOMERS as usize);
    for (customer, orders) in &by_customer {
        assert!(orders.is_sorted_by_key(|priced| priced.order.number), "the order of {customer}: {orders:?}");
        let right =
            |priced: &PricedOrder| priced.cents == priced.order.item.len() as u64 * priced.order.pieces;
        assert!(orders.iter().all(right), "the prices of {customer}: {orders:?}");
    }
    assert_eq!(failed.iter().map(|order| order.number).collect::<Vec<_>>(), [33]);
    println!("order 33 is in the dead letter topic: nobody has unobtainium");
    Ok(())
}
