//! The states of an instance and the one function that changes them.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The state of a [`KafkaStreams`](crate::KafkaStreams) instance (`KafkaStreams.State`).
///
/// ```text
///                 +---------+
///        +--------| Created |
///        |        +----+----+
///        |             | start
///        |             v
///        |       +-------------+  every task runs   +---------+
///        +<------| Rebalancing |------------------->| Running |<-+ a rebalance that
///        |       +----+--------+<-------------------+----+----+--+ changes nothing here
///        |            |             rebalance            |
///  close |            | failure                          | failure       close
///        |            v                                  |                 |
///        |       +--------------+                        |                 |
///        |       | PendingError |<-----------------------+                 |
///        v       +----+---------+                                          |
///  +-----------------+|                                                    |
///  | PendingShutdown |<----------------------------------------------------+
///  +-----+-----------+|
///        v            v
///  +------------+  +-------+
///  | NotRunning |  | Error |
///  +------------+  +-------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Made, not started.
    Created,
    /// Joining the group, or restoring state of tasks it was given.
    Rebalancing,
    /// Every task of this instance processes records.
    Running,
    /// Closing: tasks commit and stop.
    PendingShutdown,
    /// Closed. The end.
    NotRunning,
    /// A failure that the uncaught exception handler answers by shutting down: tasks stop.
    PendingError,
    /// Stopped by a failure. The end; `close` only frees what is left.
    Error,
}

impl State {
    /// The JVM's number of the state (`client-state` of `stream-metrics`).
    pub(crate) fn number(self) -> u8 {
        match self {
            State::Created => 0,
            State::Rebalancing => 1,
            State::Running => 2,
            State::PendingShutdown => 3,
            State::NotRunning => 4,
            State::PendingError => 5,
            State::Error => 6,
        }
    }

    /// Whether tasks run or are about to.
    pub fn is_running_or_rebalancing(self) -> bool {
        matches!(self, State::Running | State::Rebalancing)
    }

    /// Whether nothing of the instance runs any more.
    pub fn has_stopped(self) -> bool {
        matches!(self, State::NotRunning | State::Error)
    }

    /// Whether it stops or has stopped.
    pub fn is_stopping(self) -> bool {
        matches!(self, State::PendingShutdown | State::PendingError) || self.has_stopped()
    }

    /// The legal transitions, those of the JVM.
    fn may_become(self, next: State) -> bool {
        use State as S;
        match (self, next) {
            (S::Created, S::Rebalancing | S::PendingShutdown) => true,
            (S::Rebalancing, S::Running | S::PendingShutdown | S::PendingError) => true,
            (S::Running, S::Rebalancing | S::Running | S::PendingShutdown | S::PendingError) => true,
            (S::PendingShutdown, S::NotRunning) => true,
            (S::PendingError, S::Error) => true,
            (
                S::Created
                | S::Rebalancing
                | S::Running
                | S::PendingShutdown
                | S::PendingError
                | S::NotRunning
                | S::Error,
                _,
            ) => false,
        }
    }
}

impl fmt::Display for State {
    /// The JVM's spelling, as dashboards know it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Created => "CREATED",
            State::Rebalancing => "REBALANCING",
            State::Running => "RUNNING",
            State::PendingShutdown => "PENDING_SHUTDOWN",
            State::NotRunning => "NOT_RUNNING",
            State::PendingError => "PENDING_ERROR",
            State::Error => "ERROR",
        })
    }
}

/// Called at each change of state with the new and the old one (`KafkaStreams.StateListener`), on the thread that makes
/// the change: it should return quickly and must not close the instance itself.
pub type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// The state of one instance, watched by whoever wants to know.
pub(crate) struct StateCell {
    sender: watch::Sender<State>,
    /// Held while the state changes, so that listeners see changes in order.
    listener: Mutex<Option<StateListener>>,
}

impl StateCell {
    pub(crate) fn new() -> Self {
        StateCell { sender: watch::Sender::new(State::Created), listener: Mutex::new(None) }
    }

    pub(crate) fn get(&self) -> State {
        *self.sender.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.sender.subscribe()
    }

    pub(crate) fn set_listener(&self, listener: StateListener) {
        *self.listener.lock() = Some(listener);
    }

    /// Changes the state if that is legal, and answers whether it was. An illegal change is no error: a rebalance that
    /// ends while the instance closes, for instance, comes too late to matter.
    pub(crate) fn transition(&self, next: State) -> bool {
        let listener = self.listener.lock();
        let old = self.get();
        if !old.may_become(next) {
            return false;
        }
        self.sender.send_replace(next);
        tracing::info!(from = %old, to = %next, "state changed");
        if let Some(listener) = listener.as_ref().filter(|_| old != next) {
            listener(next, old);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Created,
        State::Rebalancing,
        State::Running,
        State::PendingShutdown,
        State::NotRunning,
        State::PendingError,
        State::Error,
    ];

    /// The whole matrix, as `KafkaStreams.State` lists it by ordinals.
    #[test]
    fn legal_transitions_are_the_jvms() {
        let legal = [
            (State::Created, vec![State::Rebalancing, State::PendingShutdown]),
            (State::Rebalancing, vec![State::Running, State::PendingShutdown, State::PendingError]),
            (
                State::Running,
                vec![State::Rebalancing, State::Running, State::PendingShutdown, State::PendingError],
            ),
            (State::PendingShutdown, vec![State::NotRunning]),
            (State::NotRunning, vec![]),
            (State::PendingError, vec![State::Error]),
            (State::Error, vec![]),
        ];
        for (from, targets) in legal {
            for to in ALL {
                assert_eq!(from.may_become(to), targets.contains(&to), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn listeners_see_each_change_once_and_nothing_of_an_illegal_one() {
        let cell = StateCell::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cell.set_listener(Arc::new(move |new, old| log.lock().push((new, old))));
        assert!(!cell.transition(State::Running));
        assert!(cell.transition(State::Rebalancing));
        assert!(cell.transition(State::Running));
        assert!(cell.transition(State::Running), "a rebalance without effect");
        assert!(cell.transition(State::PendingShutdown));
        assert!(!cell.transition(State::Rebalancing), "too late");
        assert!(cell.transition(State::NotRunning));
        assert_eq!(
            *seen.lock(),
            [
                (State::Rebalancing, State::Created),
                (State::Running, State::Rebalancing),
                (State::PendingShutdown, State::Running),
                (State::NotRunning, State::PendingShutdown),
            ]
        );
    }
}
