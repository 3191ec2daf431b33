//! Kafka Streams' own names and behaviour, recorded from the JVM (`data/`), against this DSL.
//!
//! The programs are in a small language of calls; `interpreter` turns them into calls of the DSL.

mod behaviours;
mod change;
mod functions;
mod interpreter;
mod names;
mod program;
mod sample;
