//! The name of a task.

use std::fmt;
use std::str::FromStr;

/// A task: partition `partition` of sub-topology `sub_topology`; its text is `<sub-topology>_<partition>`, as in the JVM,
/// where it names the task's state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The sub-topology's number.
    pub sub_topology: u32,
    /// The partition.
    pub partition: i32,
}

impl TaskId {
    /// What keeps the global stores of an instance up to date; it has no partition of its own.
    pub const GLOBAL: TaskId = TaskId { sub_topology: u32::MAX, partition: -1 };

    /// The task of a partition of a sub-topology.
    pub const fn new(sub_topology: u32, partition: i32) -> Self {
        TaskId { sub_topology, partition }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == TaskId::GLOBAL {
            return f.write_str("global");
        }
        write!(f, "{}_{}", self.sub_topology, self.partition)
    }
}

/// The text is not `<sub-topology>_<partition>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a task id: it should look like 0_1")]
pub struct InvalidTaskId(String);

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        let parse = || {
            let (sub_topology, partition) = text.split_once('_')?;
            let id = TaskId { sub_topology: sub_topology.parse().ok()?, partition: partition.parse().ok()? };
            // One text per task: no signs, no leading zeros.
            (id.to_string() == text && id.partition >= 0).then_some(id)
        };
        parse().ok_or_else(|| InvalidTaskId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// State directories are found again by this text, also those that the JVM made.
    #[test]
    fn text_is_the_jvms_and_nothing_else_parses() {
        assert_eq!(TaskId::new(2, 13).to_string(), "2_13");
        assert_eq!("2_13".parse(), Ok(TaskId::new(2, 13)));
        for text in ["", "1", "1_", "_1", "1_-1", "01_1", "1_+1", "a_b", "1_2_3"] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_those_of_the_jvm() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/task_ids.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let part = u32::try_from(case["subtopology"].as_u64().unwrap()).unwrap();
            let partition = i32::try_from(case["partition"].as_i64().unwrap()).unwrap();
            assert_eq!(TaskId::new(part, partition).to_string(), case["text"].as_str().unwrap());
        }
    }
}
