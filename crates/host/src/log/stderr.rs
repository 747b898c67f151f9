//! The queue in front of stderr: logging never waits.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{mem, thread};

/// Write a line to the log on stderr. Never waits.
///
/// While nobody reads stderr, lines wait in a queue of 1 MiB. Lines that do not fit are dropped, and a `warn` line
/// counts them once somebody reads again. A broker logs here unless its builder names another sink.
pub fn log_line(line: &str) {
    QUEUE.push(line);
}

/// Wait until every line of [`log_line`] is written, for `limit` at most. Returns whether they are.
///
/// Call it before the process ends, which loses lines that are not written.
pub fn flush_log(limit: Duration) -> bool {
    QUEUE.flush(limit)
}

static QUEUE: LazyLock<Arc<Queue>> = LazyLock::new(|| Queue::before(stderr()));

/// Not std's own handle: a thread that waits in a write holds its lock, and all other writers would wait, too.
fn stderr() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    if let Ok(descriptor) = std::os::fd::AsFd::as_fd(&io::stderr()).try_clone_to_owned() {
        return Box::new(std::fs::File::from(descriptor));
    }
    Box::new(io::stderr())
}

/// Lines on their way to a thread that writes them.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: String,
    dropped: u64,
    is_writing: bool,
}

impl Queue {
    fn before(output: impl Write + Send + 'static) -> Arc<Self> {
        let queue = Arc::new(Self::default());
        let this = Arc::clone(&queue);
        // Without a thread the queue fills, and then drops.
        _ = thread::Builder::new().name("token-broker-log".to_owned()).spawn(move || this.write_to(output));
        queue
    }

    fn push(&self, line: &str) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() < MAX_BYTES {
            waiting.lines.push_str(line);
            waiting.lines.push('\n');
        } else {
            waiting.dropped += 1;
        }
        self.changed.notify_all();
    }

    fn flush(&self, limit: Duration) -> bool {
        let is_under_way = |waiting: &mut Waiting| !waiting.lines.is_empty() || waiting.is_writing;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, is_under_way);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn write_to(&self, mut output: impl Write) {
        loop {
            let lines = self.take();
            let written = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
            let mut waiting = self.lock();
            waiting.is_writing = false;
            if written.is_err() {
                // A log that cannot be written must not end the host; stderr may be writable again.
                waiting.dropped += lines.lines().count() as u64;
            }
            drop(waiting);
            self.changed.notify_all();
        }
    }

    /// The lines that wait, as soon as there are any, and behind them how many found no room.
    fn take(&self) -> String {
        let waiting = self.changed.wait_while(self.lock(), |waiting| waiting.lines.is_empty());
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        let (mut lines, dropped) = (mem::take(&mut waiting.lines), mem::take(&mut waiting.dropped));
        if dropped > 0 {
            let line =
                serde_json::json!({ "level": "warn", "event": "dropped lines of the log", "lines": dropped });
            lines.push_str(&format!("{line}\n"));
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes what is written when it is told to, and not before.
    struct Reader {
        may_go_on: Receiver<()>,
        read: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may_go_on.recv().map_err(io::Error::other)?;
            self.read.send(String::from_utf8(bytes.to_vec()).unwrap()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_kept_up_to_a_bound_and_the_others_counted() {
        let ((go_on, may_go_on), (read, written)) = (channel(), channel());
        let queue = Queue::before(Reader { may_go_on, read });
        let line = "x".repeat(MAX_BYTES / 8);
        (0..40).for_each(|_| queue.push(&line));
        assert!(!queue.flush(Duration::ZERO), "nothing of it is read");
        // The thread may have taken the first lines already, and takes the rest at once.
        (0..2).for_each(|_| go_on.send(()).unwrap());
        assert!(queue.flush(FOREVER), "all of it is read");

        let text: String = written.try_iter().collect();
        let (lines, told): (Vec<_>, Vec<_>) = text.lines().partition(|it| *it == line);
        let told: Vec<serde_json::Value> = told.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        let dropped: u64 = told.iter().map(|it| it["lines"].as_u64().unwrap()).sum();
        assert!(lines.len() >= 7 && lines.len() as u64 + dropped == 40, "{} and {told:?}", lines.len());

        go_on.send(()).unwrap();
        queue.push("next");
        assert!(queue.flush(FOREVER));
        assert_eq!(written.try_iter().collect::<String>(), "next\n");
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_too() {
        let (read, written) = channel();
        let queue = Queue::before(Failing { once: true, read });
        queue.push("lost");
        assert!(queue.flush(FOREVER));
        queue.push("next");
        assert!(queue.flush(FOREVER));
        let text: String = written.try_iter().collect();
        let (next, told) = text.split_once('\n').unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!((next, told["lines"].as_u64()), ("next", Some(1)));
    }

    /// Would block once, as a terminal whose other user has set it so.
    struct Failing {
        once: bool,
        read: Sender<String>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if mem::take(&mut self.once) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.read.send(String::from_utf8(bytes.to_vec()).unwrap()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const FOREVER: Duration = Duration::from_secs(60);
}
