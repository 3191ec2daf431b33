//! The core of kstreams: topology, Processor API, tasks and the runtime
