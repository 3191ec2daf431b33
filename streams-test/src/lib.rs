//! TopologyTestDriver and mock contexts: test a kstreams topology without a broker.
//!
//! The driver runs the same task code as the runtime, in the thread of the test: one task holds all sub-topologies,
//! commits after each record, and its wall clock moves only when it is told to (`TopologyTestDriver` of Kafka Streams).
//!
//! ```
//! use kstreams_core::Topology;
//! use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
//! use kstreams_state_stores::Record;
//! use kstreams_test::TopologyTestDriver;
//!
//! struct Upper;
//! impl Processor<String, String, String, String> for Upper {
//!     fn process(
//!         &mut self,
//!         record: Record<String, String>,
//!         ctx: &mut ProcessorContext<'_, String, String>,
//!     ) -> ProcessResult {
//!         let value = record.value.to_uppercase();
//!         ctx.forward(record.with_value(value))
//!     }
//! }
//!
//! let mut topology = Topology::new();
//! topology.add_source::<String, String>("lines", "input")?;
//! topology.add_processor("upper", || Upper, &["lines"])?;
//! topology.add_sink::<String, String>("out", "output", &["upper"])?;
//!
//! let driver = TopologyTestDriver::new(topology)?;
//! let input = driver.create_input_topic::<String, String>("input");
//! let output = driver.create_output_topic::<String, String>("output");
//! input.pipe_input("k".to_owned(), "hello".to_owned())?;
//! assert_eq!(output.read_value()?, Some("HELLO".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod capture;
mod driver;
mod mock;
mod topics;

pub use capture::{ProducedRecord, RawProducedRecord};
pub use driver::{DriverError, TopologyTestDriver};
pub use mock::{MockBuilder, MockProcessorContext};
pub use topics::{TestInputTopic, TestOutputTopic};
