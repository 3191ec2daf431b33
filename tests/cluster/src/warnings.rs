//! What the library warned of in this process: the messages are part of what it promises.

use std::io::{self, Write};
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

/// Whole lines, as they were logged at WARN or above.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether one line of the log, a warning or an error, has all of these parts. Names of topics and applications are a test's own, so
/// one of them tells its lines from other tests'.
pub fn warned(parts: &[&str]) -> bool {
    LINES.lock().unwrap().iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// Takes the log's lines.
#[derive(Clone, Copy)]
pub(crate) struct Warnings;

impl Write for Warnings {
    /// One call per line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Warnings {
    type Writer = Warnings;

    fn make_writer(&'a self) -> Warnings {
        Warnings
    }
}
