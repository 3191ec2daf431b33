//! Errors, time-outs, panics, and a runtime that goes away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn quick() -> AsyncOptions {
    AsyncOptions::new().with_backoff(Duration::from_micros(10), Duration::from_millis(1))
}

/// A step that fails with "no" at the first `failures` attempts of the value `bad`.
fn failing(
    failures: usize,
) -> (Arc<AtomicUsize>, impl Fn(String, String) -> futures::future::BoxFuture<'static, ProcessResult<String>>)
{
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let call =
        move |_: String, value: String| -> futures::future::BoxFuture<'static, ProcessResult<String>> {
            let failed = value == "bad" && counted.fetch_add(1, Ordering::SeqCst) < failures;
            Box::pin(async move { if failed { Err("no".into()) } else { Ok(value) } })
        };
    (attempts, call)
}

#[test]
fn an_error_is_followed_by_as_many_attempts_as_the_options_say() {
    let (attempts, call) = failing(2);
    let mut driven = Driven::new(quick().with_retries(2), call);
    driven.feed([("k", "bad"), ("k", "next")]);
    driven.finish().unwrap();
    assert_eq!(driven.values(), ["bad", "next"], "repeated in its place");
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    assert_eq!(driven.task.take_call_counts(), (2, 0));
}

/// The handler is told of the record that failed, not of the one that came last.
#[test]
fn a_record_without_attempts_left_becomes_a_dead_letter_and_the_others_go_on() {
    let (_, call) = failing(usize::MAX);
    let mut driven = Driven::with(continuing(), quick().with_retries(3), call);
    driven.feed([("a", "1"), ("b", "bad"), ("b", "2"), ("c", "3")]);
    driven.finish().unwrap();
    let mut sent = driven.sent();
    sent.sort_by_key(|sent| sent.offset);
    let sent: Vec<_> =
        sent.iter().map(|sent| (&*sent.topic, &*sent.key, &*sent.value, sent.offset)).collect();
    assert_eq!(
        sent,
        [("out", "a", "1", 0), ("dead", "b", "bad", 1), ("out", "b", "2", 2), ("out", "c", "3", 3)]
    );
    assert_eq!(driven.task.dropped_records(), 1);
    let offsets = driven.commit().unwrap();
    assert_eq!(offsets[0].offset, 4, "dropped is done");
}

#[test]
fn without_a_handler_that_lets_it_pass_the_task_fails_and_names_the_record() {
    let (_, call) = failing(usize::MAX);
    let mut driven = Driven::new(quick(), call);
    driven.feed([("a", "1"), ("b", "bad"), ("c", "3")]);
    let error = driven.finish().unwrap_err();
    let StreamsError::Processing { node, topic, partition, offset, source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((node.as_str(), topic.as_str(), *partition, *offset), ("step", "in", 0, 1));
    assert_eq!(source.to_string(), "no");
}

#[test]
fn an_attempt_that_takes_too_long_is_cancelled_and_repeated() {
    let (attempts, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, living) = (Arc::clone(&attempts), Arc::clone(&alive));
    // Long enough for the second attempt on a busy machine.
    let options = quick().with_timeout(Duration::from_millis(500)).with_retries(1);
    let mut driven = Driven::new(options, move |_, value| {
        let (first, alive) = (counted.fetch_add(1, Ordering::SeqCst) == 0, Alive::new(&living));
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            drop(alive);
            Ok(value)
        }
    });
    driven.feed([("k", "v")]);
    driven.finish().unwrap();
    assert_eq!((driven.values(), attempts.load(Ordering::SeqCst)), (vec!["v".to_owned()], 2));
    assert_eq!(driven.task.take_call_counts(), (1, 1));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_time_out_without_attempts_left_is_an_error_that_says_so() {
    let options = quick().with_timeout(Duration::from_millis(5)).with_retries(1);
    let mut driven = Driven::new(options, |_, _| std::future::pending());
    driven.feed([("k", "v")]);
    let error = driven.finish().unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.starts_with("no answer within 5ms at attempt 2"), "{text}");
}

#[test]
fn a_panic_is_an_error_of_its_record_and_is_not_repeated() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let mut driven = Driven::with(continuing(), quick().with_retries(5), move |_, value| {
        counted.fetch_add(1, Ordering::SeqCst);
        // Before the future is there, and in it.
        assert!(value != "early", "not this one");
        async move {
            assert!(value != "late", "nor this one");
            Ok(value)
        }
    });
    driven.feed([("k", "early"), ("k", "late"), ("k", "good")]);
    driven.finish().unwrap();
    let sent = driven.sent();
    let sent: Vec<_> = sent.iter().map(|sent| (&*sent.topic, &*sent.value)).collect();
    assert_eq!(sent, [("dead", "early"), ("dead", "late"), ("out", "good")]);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[test]
fn errors_that_are_not_worth_it_are_not_repeated() {
    let (attempts, call) = failing(usize::MAX);
    let options = quick().with_retries(5).with_retry_if(|error| error.to_string() != "no");
    let mut driven = Driven::with(continuing(), options, call);
    driven.feed([("k", "bad")]);
    driven.finish().unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

/// No handler may drop the record: it isn't the record's fault. The next start processes it again.
#[test]
fn a_runtime_that_is_shut_down_fails_the_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut topology = Topology::new();
    topology.add_source::<String, String>("source", "in").unwrap();
    let step = step(|_, _| std::future::pending(), AsyncOptions::new());
    topology.add_processor("step", step, &["source"]).unwrap();
    let environment =
        AsyncEnvironment::new(AsyncRuntime::new(Some(runtime.handle().clone())), Arc::default());
    let mut driven = Driven::of(&topology, continuing(), environment);
    driven.feed([("k", "v")]);
    driven.task.process(1).unwrap();
    runtime.shutdown_background();
    let error = driven.finish().unwrap_err();
    assert!(matches!(&error, StreamsError::AsyncCancelled { node } if node == "step"), "{error:?}");
}
