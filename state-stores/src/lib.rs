//! State stores of kstreams: record and serde types, RocksDB and in-memory engines, record cache
