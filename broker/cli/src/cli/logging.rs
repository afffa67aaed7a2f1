//! The log of `fanfare serve`: written by a thread of its own, so that nothing that serves waits for it.
//!
//! Whatever the log goes to may stand still or be gone: a pipe that nobody reads, a full disk, a closed terminal.
//! Lines wait in a bounded queue; those that do not fit and those that cannot be written are dropped, counted,
//! and told of when there is room again. (`tracing-appender` does the first half of it, but neither counts nor
//! tells of failed writes, and prints to standard output when its thread stands still at the end.)

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare::metrics::LOG_LINES_DROPPED;
use fanfare::supervise::LAST_WORDS;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait to be written.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// How long the end waits for the lines before it.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where log lines wait for the thread that writes them.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when there is a line.
    filled: Condvar,
    /// Signalled when there is no line, nor one being written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Box<[u8]>>,
    /// Bytes of those lines, and of the one that is being written.
    bytes: usize,
    /// Lines that were dropped, and how many of them the log has told of.
    dropped: u64,
    told: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, or drops it where there is no capacity.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes + line.len() > WAITING_BYTES_MAX {
            return waiting.drop_line();
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.into());
        drop(waiting);
        self.filled.notify_one();
    }

    /// The next line; waits for one.
    fn pop(&self) -> Box<[u8]> {
        let waiting = self.lock();
        let waiting = self.filled.wait_while(waiting, |waiting| waiting.lines.is_empty());
        waiting.unwrap_or_else(PoisonError::into_inner).lines.pop_front().expect("it was waited for")
    }

    /// Takes note that a line was written, or not. Returns how many were dropped since the log last told of
    /// it, once there is capacity to do so.
    fn done(&self, line: &[u8], is_written: bool) -> Option<u64> {
        let mut waiting = self.lock();
        waiting.bytes -= line.len();
        if waiting.lines.is_empty() {
            self.emptied.notify_all();
        }
        if !is_written {
            waiting.drop_line();
            return None;
        }
        let dropped = waiting.dropped - waiting.told;
        if dropped == 0 || waiting.bytes > WAITING_BYTES_MAX / 2 {
            return None;
        }
        waiting.told = waiting.dropped;
        Some(dropped)
    }

    /// Writes for ever.
    fn write_to(&self, mut sink: impl Write) {
        // After half a line the next one begins a line of its own.
        let mut is_torn = false;
        loop {
            let line = self.pop();
            let written = match is_torn {
                true => sink.write_all(b"\n").and_then(|()| sink.write_all(&line)),
                false => sink.write_all(&line),
            };
            is_torn = written.is_err();
            if let Some(dropped) = self.done(&line, written.is_ok()) {
                tracing::warn!(
                    dropped,
                    "log lines were dropped: they came faster than they could be written"
                );
            }
        }
    }
}

impl Waiting {
    fn drop_line(&mut self) {
        self.dropped += 1;
        LOG_LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl Log {
    /// A log that is written to `sink`, by a thread that runs as long as the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writing = Arc::clone(&queue);
        std::thread::Builder::new().name("log".into()).spawn(move || writing.write_to(sink))?;
        Ok(Self(queue))
    }

    /// Queues a line for people, as it is.
    pub(crate) fn notice(&self, text: &str) {
        self.0.push(format!("{text}\n").as_bytes());
    }

    /// Waits until everything is written, for a second at most.
    pub(crate) fn flush(&self) {
        let waiting = self.0.lock();
        drop(self.0.emptied.wait_timeout_while(waiting, FLUSH_MAX, |waiting| waiting.bytes > 0));
    }
}

/// Takes one line.
#[derive(Debug)]
pub(crate) struct Line {
    log: Log,
    /// The process ends after this line.
    is_last: bool,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log.0.push(line);
        if self.is_last {
            self.log.flush();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.clone(), is_last: false }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line { log: self.clone(), is_last: meta.target() == LAST_WORDS }
    }
}

/// Logs to standard error from here on: lines for people on a terminal, else JSON. What panics goes there too.
///
/// # Errors
/// The thread that writes cannot be started.
pub(crate) fn start(level: Level) -> io::Result<Log> {
    let log = Log::to(io::stderr())?;
    let logging =
        tracing_subscriber::fmt().with_max_level(level).log_internal_errors(false).with_writer(log.clone());
    if io::stderr().is_terminal() {
        logging.with_target(false).init();
    } else {
        logging.json().init();
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(log)
}

/// The standard library's own hook writes, and waits, where the panic was. The message is left out: that of a
/// string that is cut at the wrong place quotes the string.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(location, thread = thread.name(), "a task panicked");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Writes what it is given to a channel without room, and fails where nobody is there to receive.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Log, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Log::to(Slow(sender)).expect("a thread starts"), receiver)
    }

    fn dropped(log: &Log) -> u64 {
        log.0.lock().dropped
    }

    #[test]
    fn whoever_logs_does_not_wait_for_a_sink_that_stands_still() {
        let (log, sink) = slow();
        let line = "x".repeat(1023);
        for _ in 0..3000 {
            log.notice(&line);
        }
        let kept = WAITING_BYTES_MAX as u64 / 1024;
        assert_eq!(dropped(&log), 3000 - kept);
        for _ in 0..kept {
            assert_eq!(sink.recv().expect("a line").len(), 1024);
        }
        log.flush();
        log.notice("there is room again");
        assert_eq!(sink.recv().expect("a line"), b"there is room again\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (log, sink) = slow();
        drop(sink);
        for _ in 0..10 {
            log.notice("nobody reads this");
        }
        log.flush();
        assert_eq!(dropped(&log), 10);
    }

    #[test]
    fn what_was_dropped_is_told_of_once_when_there_is_room() {
        let queue = Queue::default();
        let line = [b'x'; 1024];
        for _ in 0..WAITING_BYTES_MAX / line.len() + 7 {
            queue.push(&line);
        }
        let mut told = Vec::new();
        while !queue.lock().lines.is_empty() {
            let line = queue.pop();
            told.extend(queue.done(&line, true));
        }
        assert_eq!(told, [7]);
    }
}
