//! An instance in a process of its own: this test program runs itself again, for one test that only children have something to do in.

use std::process::{Command, ExitStatus, Stdio};

/// Set for children alone: their arguments, a line each.
const CHILD: &str = "KSTREAMS_IT_CHILD";

/// What a child was started with; `None` in the test program itself.
pub fn arguments<const N: usize>() -> Option<[String; N]> {
    let arguments = std::env::var(CHILD).ok()?;
    let arguments: Vec<String> = arguments.lines().map(str::to_owned).collect();
    Some(arguments.try_into().unwrap())
}

/// Keeps a child going until it is killed, or its parent is gone.
pub fn wait_for_parent() {
    std::io::stdin().lines().for_each(drop);
}

/// Sends a process a signal, by its name without `SIG`.
pub fn signal(process: &std::process::Child, name: &str) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success(), "SIG{name}");
}

/// A child process; killed when its test ends early.
pub struct Child(std::process::Child);

impl Child {
    /// Runs this program for the one test `test`, with arguments and variables.
    pub fn start<const N: usize>(test: &str, arguments: [&str; N], variables: &[(&str, &str)]) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, arguments.join("\n"))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Child(child.unwrap())
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "it ran until it was killed");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        signal(&self.0, name);
    }

    /// How the process ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
