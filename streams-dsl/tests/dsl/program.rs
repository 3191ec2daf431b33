//! The recorded programs: lists of calls, each on the result of an earlier one.

use std::collections::BTreeMap;

use serde_json::Value;

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The name of its result.
    pub(crate) id: String,
    pub(crate) op: String,
    /// The name of what it is called on; none for calls on the builder.
    pub(crate) receiver: Option<String>,
    args: BTreeMap<String, String>,
}

impl Call {
    pub(crate) fn arg(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.arg(name).unwrap_or_else(|| panic!("{} lacks {name}", self.op))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.arg(name).map(|text| text.parse().unwrap())
    }

    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.args.contains_key(*name))
    }
}

/// The calls of a program.
pub(crate) fn calls(program: &Value) -> Vec<Call> {
    let calls = program["calls"].as_array().unwrap().iter().map(|call| Call {
        id: call["id"].as_str().unwrap_or_default().to_owned(),
        op: call["op"].as_str().unwrap().to_owned(),
        receiver: call["in"].as_str().map(str::to_owned),
        args: call["args"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
    });
    calls.collect()
}
