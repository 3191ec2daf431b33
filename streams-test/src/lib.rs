//! TopologyTestDriver and mock contexts: test a kstreams topology without a broker
