//! Session stores against a map with the JVM's rules of expiry.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CACHES, Engine, Event, Lossy, LossySerde, Task, cases, event, key, on_engine};
use crate::{SessionStore, StoreBuilder, Stores, Window, Windowed};

const RETENTION_MS: i64 = 100_000;
const SEGMENT_MS: i64 = 60_000;

type Key = Vec<u8>;
type Session = Windowed<Key>;

#[derive(Debug, Clone)]
enum Op {
    Put(Session, Option<Lossy>),
    Remove(Session),
    FetchSession(Session),
    Find(Key, i64, i64, bool),
    FindRange(Option<Key>, Option<Key>, i64, i64, bool),
    Task(Event),
}

/// Ends on both sides of segments' borders and of the retention.
fn time() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 10, 59_990, 60_000, 119_990, 120_000, 160_000, 200_000, 290_000])
}

fn session() -> impl Strategy<Value = Session> {
    let lengths = prop::sample::select(vec![0, 5, 70_000]);
    (key(), time(), lengths)
        .prop_map(|(key, end, length)| Windowed::new(key, Window { start: (end - length).max(0), end }))
}

fn value() -> impl Strategy<Value = Option<Lossy>> {
    prop::option::weighted(0.8, (0..500u16, 1..9u16).prop_map(|(kept, lost)| Lossy { kept, lost }))
}

/// Earliest end and latest start.
fn times() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![Just((0, i64::MAX)), Just((-5, 60_000)), (time(), time())]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (session(), value()).prop_map(|(session, value)| Op::Put(session, value)),
        6 => session().prop_map(Op::Remove),
        8 => session().prop_map(Op::FetchSession),
        8 => (key(), times(), any::<bool>())
            .prop_map(|(key, (end, start), reverse)| Op::Find(key, end, start, reverse)),
        8 => (prop::option::of(key()), prop::option::of(key()), times(), any::<bool>())
            .prop_map(|(low, high, (end, start), reverse)| Op::FindRange(low, high, end, start, reverse)),
        9 => event().prop_map(Op::Task),
    ]
}

/// What the store should hold, and what time it is there.
#[derive(Debug, Clone)]
struct Model {
    entries: BTreeMap<Session, Lossy>,
    observed: i64,
    /// The greatest end in the changelog: removals are logged, too.
    logged: i64,
    dropped: usize,
}

impl Model {
    fn put(&mut self, engine: Engine, session: &Session, value: Option<Lossy>) {
        let end = session.window.end;
        self.observed = self.observed.max(end);
        self.logged = self.logged.max(end);
        let live = match engine {
            Engine::Rocks => end / SEGMENT_MS >= (self.observed - RETENTION_MS) / SEGMENT_MS,
            Engine::Memory | Engine::Own => end > self.observed - RETENTION_MS,
        };
        match value {
            _ if !live => self.dropped += 1,
            Some(value) => {
                self.entries.insert(session.clone(), value.after_a_round_trip());
            }
            None => {
                self.entries.remove(session);
            }
        }
    }

    fn visible_from(&self) -> i64 {
        self.observed - RETENTION_MS + 1
    }
}

/// The order of the JVM's iterators: by segment, key, end and start, or by end, key and start.
fn order(engine: Engine, session: &Session) -> (i64, Vec<u8>) {
    let Window { start, end } = session.window;
    let mut bytes = session.key.clone();
    if engine == Engine::Rocks {
        bytes.extend_from_slice(&end.to_be_bytes());
    }
    bytes.extend_from_slice(&start.to_be_bytes());
    (if engine == Engine::Rocks { end / SEGMENT_MS } else { end }, bytes)
}

struct Check {
    engine: Engine,
    task: Task<SessionStore<Key, Lossy>>,
    cached: bool,
    current: Model,
    committed: Model,
    /// As for windows: whether expired sessions have to be hidden and counted to the letter.
    exact: bool,
}

impl Check {
    fn new(engine: Engine, cache: Option<usize>) -> Self {
        let mut builder = on_engine!(Stores::session::<Vec<u8>, LossySerde>("store", RETENTION_MS), engine);
        if cache.is_some() {
            builder = builder.with_caching_enabled();
        }
        let build = {
            let builder = builder.clone();
            move |env: &_| builder.build(env).unwrap()
        };
        let task = Task::new(engine, cache.unwrap_or(0), builder.spec(), build);
        let model = Model { entries: BTreeMap::new(), observed: -1, logged: -1, dropped: 0 };
        let (current, committed) = (model.clone(), model);
        Check { engine, task, cached: cache.is_some(), current, committed, exact: cache.is_none() }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(session, value) => {
                let (store, mut cx) = self.task.access();
                store.put(&mut cx, session, value.as_ref()).unwrap();
                self.current.put(self.engine, session, *value);
            }
            Op::Remove(session) => self.remove(session),
            Op::FetchSession(session) => self.check_one(session),
            Op::Find(key, end, start, reverse) => self.check_find(key, *end, *start, *reverse),
            Op::FindRange(low, high, end, start, reverse) => {
                self.check_range(low.as_ref(), high.as_ref(), (*end, *start), *reverse);
            }
            Op::Task(event) => self.apply_event(*event),
        }
        if self.exact {
            assert_eq!(self.task.access().0.observed_stream_time(), self.current.observed);
            assert_eq!(self.task.changelog.dropped, self.current.dropped);
        }
    }

    fn apply_event(&mut self, event: Event) {
        self.task.apply(event);
        event.settle(&mut self.current, &mut self.committed);
        if event.goes_back() {
            self.task.changelog.dropped = self.current.dropped;
        }
        if event.reopens() {
            // Restored as by puts, removals like the others (`InMemorySessionStore`'s restore callback).
            if self.engine.is_in_memory() {
                self.current.observed = self.current.logged;
                self.committed = self.current.clone();
            }
            self.exact &= self.engine.is_in_memory();
        }
    }

    /// A removed session is never counted as dropped; in memory its time does not count, unless a cache makes a put of
    /// it.
    fn remove(&mut self, session: &Session) {
        let (store, mut cx) = self.task.access();
        store.remove(&mut cx, session).unwrap();
        let dropped = self.current.dropped;
        if self.cached || self.engine == Engine::Rocks {
            self.current.put(self.engine, session, None);
        }
        self.current.entries.remove(session);
        self.current.logged = self.current.logged.max(session.window.end);
        self.current.dropped = dropped;
    }

    fn check_one(&mut self, session: &Session) {
        let Window { start, end } = session.window;
        let found = self.task.access().0.fetch_session(&session.key, start, end).unwrap();
        let hidden = end < self.current.visible_from();
        if hidden && self.exact {
            assert_eq!(found, None);
        } else if !hidden {
            assert_eq!(found, self.current.entries.get(session).copied());
        }
    }

    fn check_find(&mut self, key: &Key, end: i64, start: i64, reverse: bool) {
        let expected = self.expected(|session| session.key == *key, (end, start), reverse);
        let from = self.comparable_from();
        let store = self.task.access().0;
        let view = store.find_sessions_view(key, end, start);
        let view =
            std::thread::spawn(|| view.unwrap().map(Result::unwrap).collect::<Vec<_>>()).join().unwrap();
        let found = match reverse {
            true => store.backward_find_sessions(key, end, start),
            false => store.find_sessions(key, end, start),
        };
        let found = found.unwrap().map(Result::unwrap).filter(|(session, _)| session.window.end >= from);
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let view = view.into_iter().filter(|(session, _)| session.window.end >= from);
        let view: Vec<_> = if reverse { view.rev().collect() } else { view.collect() };
        assert_eq!(view, expected);
    }

    fn check_range(&mut self, low: Option<&Key>, high: Option<&Key>, times: (i64, i64), reverse: bool) {
        let inside = |session: &Session| {
            low.is_none_or(|low| session.key >= *low) && high.is_none_or(|high| session.key <= *high)
        };
        let expected = self.expected(inside, times, reverse);
        let (from, (end, start)) = (self.comparable_from(), times);
        let store = self.task.access().0;
        let found = match reverse {
            true => store.backward_find_sessions_range(low, high, end, start),
            false => store.find_sessions_range(low, high, end, start),
        };
        let found = found.unwrap().map(Result::unwrap).filter(|(session, _)| session.window.end >= from);
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    fn comparable_from(&self) -> i64 {
        if self.exact { i64::MIN } else { self.current.visible_from() }
    }

    fn expected(
        &self,
        inside: impl Fn(&Session) -> bool,
        (earliest_end, latest_start): (i64, i64),
        reverse: bool,
    ) -> Vec<(Session, Lossy)> {
        let from = earliest_end.max(self.current.visible_from());
        let taken = |session: &Session| {
            inside(session) && session.window.end >= from && session.window.start <= latest_start
        };
        let entries = self.current.entries.iter().filter(|(session, _)| taken(session));
        let mut entries: Vec<_> = entries.map(|(session, value)| (session.clone(), *value)).collect();
        entries.sort_by_key(|(session, _)| order(self.engine, session));
        if reverse {
            entries.reverse();
        }
        entries
    }
}

fn check(engine: Engine, cache: Option<usize>, ops: &[Op]) {
    let mut check = Check::new(engine, cache);
    for op in ops {
        check.apply(op);
    }
    check.apply(&Op::Task(Event::Commit));
    check.apply(&Op::Task(Event::Crash));
    check.check_range(None, None, (0, i64::MAX), false);
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn sessions_in_memory_live_by_their_end(
        ops in prop::collection::vec(op(), 1..120),
        cache in 0..CACHES.len(),
    ) {
        check(Engine::Memory, CACHES[cache], &ops);
        check(Engine::Own, CACHES[cache], &ops);
    }
}

proptest! {
    // Each opens databases.
    #![proptest_config(cases(20))]

    #[test]
    fn sessions_in_rocksdb_live_by_segment(
        ops in prop::collection::vec(op(), 1..120),
        cache in 0..CACHES.len(),
    ) {
        check(Engine::Rocks, CACHES[cache], &ops);
    }
}
