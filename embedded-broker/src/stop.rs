//! The signal that the broker is stopping.

use tokio::sync::watch;

/// Tells whoever waits (connections, long polls, background tasks) that the broker stops.
#[derive(Debug, Clone)]
pub(crate) struct StopSignal(watch::Receiver<bool>);

/// Gives the signal; dropping it gives the signal too.
#[derive(Debug)]
pub(crate) struct StopSender(watch::Sender<bool>);

/// A signal not yet given.
pub(crate) fn channel() -> (StopSender, StopSignal) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), StopSignal(receiver))
}

impl StopSender {
    /// Gives the signal.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl StopSignal {
    /// Whether the signal was given.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the signal.
    pub(crate) async fn stopped(&mut self) {
        // An error means that the sender is gone: the broker was dropped.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
