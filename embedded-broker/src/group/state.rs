//! The life of a group: its states and which may follow which.

use std::fmt;

/// A classic group's state (Apache Kafka's `ClassicGroupState`).
///
/// ```text
///            first member joins                 all members joined, or the
///            +----------------+                 rebalance timeout passed
///            |                v                          |
///        +-------+   +---------------------+   +---------v-----------+
///        | Empty |<--| PreparingRebalance  |-->| CompletingRebalance |
///        +-------+   +---------------------+   +---------------------+
///     nobody |          ^             ^  join, leave, expiry |  | leader's assignment stored
///     joined |          |             +----------------------+  v
///            |          | join with new metadata,           +--------+
///            |          | leave, expiry                     | Stable |
///            |          +-----------------------------------+--------+
///            v
///        +------+   from every state: the group was deleted, or it is empty and
///        | Dead |   its last offset is gone. A dead group answers nothing but a
///        +------+   request to look for the coordinator again.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// No members; it may have committed offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members have joined and wait for the leader's assignment.
    CompletingRebalance,
    /// Members have their assignment.
    Stable,
    /// Removed; whoever still holds it looks it up again.
    Dead,
}

impl GroupState {
    /// Whether `next` may follow this state.
    pub(crate) fn may_become(self, next: GroupState) -> bool {
        use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        match (self, next) {
            (PreparingRebalance, Empty | CompletingRebalance)
            | (Empty | CompletingRebalance | Stable, PreparingRebalance)
            | (CompletingRebalance, Stable)
            | (_, Dead) => true,
            (_, Empty | PreparingRebalance | CompletingRebalance | Stable) => false,
        }
    }

    /// The state's name on the wire and in tools.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};

    #[test]
    fn only_the_transitions_of_the_diagram_are_legal() {
        let states = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead];
        // Rows: from; columns: to, in the order of `states`. Kafka: `ClassicGroupState.validPreviousStates`.
        let legal = [
            [false, true, false, false, true],
            [true, false, true, false, true],
            [false, true, false, true, true],
            [false, true, false, false, true],
            [false, false, false, false, true],
        ];
        for (from, row) in states.into_iter().zip(legal) {
            for (to, legal) in states.into_iter().zip(row) {
                assert_eq!(from.may_become(to), legal, "{from} -> {to}");
            }
        }
    }
}
