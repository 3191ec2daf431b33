//! State directories that cannot be used.

use std::io::{BufRead, BufReader};
use std::path::Path;

use kstreams::prelude::*;
use kstreams_test_cluster::{DEADLINE, end, message_of};

use crate::process::{finish, mount, plays, run_as, with_own_mounts};
use crate::topologies::{says, word_count};

fn open(state: &Path) -> Result<KafkaStreams, StreamsError> {
    // Nothing is contacted before the start.
    let config = StreamsConfig::new("app", "127.0.0.1:1").state_dir(state);
    KafkaStreams::new(word_count("lines", "counts"), config)
}

fn refusal(state: &Path) -> String {
    message_of(&open(state).unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_by_another_instance_of_this_process() {
    let state = tempfile::tempdir().unwrap();
    let first = open(state.path()).unwrap();
    let path = state.path().join("app").display().to_string();
    says(&refusal(state.path()), &[&path, "in use by another instance", "its own `state.dir`"]);
    end(&first).await;
    end(&open(state.path()).expect("a closed instance has let go of it")).await;
}

const LOCKED: &str = "state_dir::locked_by_another_process";

#[tokio::test(flavor = "multi_thread")]
async fn locked_by_another_process() {
    if plays("holder") {
        let _held = open(Path::new(&std::env::var("HELD").unwrap())).unwrap();
        println!("\nlocked");
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let mut holder = run_as("holder", LOCKED, &[]).env("HELD", state.path()).spawn().unwrap();
    let mut output = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(output.any(|line| line.unwrap() == "locked"), "the other process failed");
    let path = state.path().join("app").display().to_string();
    let message = refusal(state.path());
    says(&message, &[&path, "in use by another instance", "stop it", "its own `state.dir`"]);

    // A killed process leaves no lock behind.
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(open(state.path()).unwrap().close(DEADLINE).await);
}

#[test]
fn a_file_in_the_place_of_the_directory() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("state");
    std::fs::write(&file, "a file").unwrap();
    let path = file.display().to_string();
    says(&refusal(&file), &[&path, "is not a directory", "`state.dir`"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a file");
}

const READ_ONLY: &str = "state_dir::a_directory_that_cannot_be_written";

/// Permissions don't stop root, a file system that is mounted read-only does.
#[test]
fn a_directory_that_cannot_be_written() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().display().to_string();
    let expected: [&str; 3] = [&path, "cannot be written", "set `state.dir`"];
    if plays("read-only") {
        mount("ro", state.path());
        says(&refusal(state.path()), &expected);
    } else if let Some(unshare) = with_own_mounts() {
        finish(run_as("read-only", READ_ONLY, unshare).spawn().unwrap());
    } else {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(state.path(), PermissionsExt::from_mode(0o555)).unwrap();
        if std::fs::write(state.path().join("root"), "").is_ok() {
            println!(
                "SKIPPED: a directory that cannot be written (this user may write everywhere, and not mount)"
            );
            return;
        }
        says(&refusal(state.path()), &expected);
    }
}
