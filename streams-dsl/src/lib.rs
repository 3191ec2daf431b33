//! The DSL of kstreams: KStream, KTable, windows and joins
