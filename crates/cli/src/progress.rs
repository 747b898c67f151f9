//! A line on stderr for work that takes longer than a second.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use token_broker_host::log_line;

/// Work in progress, until it is dropped.
pub(crate) struct Progress(#[expect(dead_code, reason = "its end ends the thread")] Sender<()>);

impl Progress {
    /// Names the work if it takes longer than a second. On a thread: a compilation occupies the runtime's only one.
    pub(crate) fn on(work: &'static str) -> Self {
        Self::after(PATIENCE, move || log_line(work))
    }

    fn after(patience: Duration, report: impl FnOnce() + Send + 'static) -> Self {
        let (running, ended) = channel();
        // Without a thread there is no line, and the work goes on.
        _ = thread::Builder::new().spawn(move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                report();
            }
        });
        Self(running)
    }
}

const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_reported_once_it_takes_long_and_not_if_it_ends_before() {
        let (report, reported) = channel();
        let sender = report.clone();
        let long = Progress::after(Duration::ZERO, move || sender.send("long").unwrap());
        assert_eq!(reported.recv(), Ok("long"));
        drop(long);
        drop(Progress::after(Duration::MAX, move || report.send("short").unwrap()));
        assert!(reported.recv().is_err(), "the thread ended and reported nothing");
    }
}
