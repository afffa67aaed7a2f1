//! A terminal that is drawn on as a whole, and given back as it was.

use std::io::{self, Read, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::mpsc;

/// The other screen, without a cursor, on which long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of that back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Rows of a terminal that does not say how many it has.
const HEIGHT_DEFAULT: usize = 24;
/// Keys that wait to be looked at.
const KEYS_MAX: usize = 16;

/// The terminal. Dropped, also by a panic, it is as it was.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// What the system says: then nothing has changed.
    pub(super) fn open() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        // Keys come as they are pressed, those that would stop the program too: nothing may end it but its own way out.
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let this = Self { before };
        write(ENTER)?;
        Ok(this)
    }

    /// Its rows.
    pub(super) fn height(&self) -> usize {
        let size = termios::tcgetwinsize(io::stdout()).ok();
        size.map(|size| usize::from(size.ws_row)).filter(|&rows| rows > 0).unwrap_or(HEIGHT_DEFAULT)
    }

    /// Draws as many of the lines as there is room for, in one piece, so that nothing flickers.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let shown: Vec<_> = lines.iter().take(self.height()).map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", shown.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(write(LEAVE));
        let _gone = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// What a key asks for.
pub(super) enum Key {
    Quit,
    Other,
}

/// The keys that are pressed. Standard input has no end that could be waited for; the thread ends with the process.
pub(super) fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        for byte in io::stdin().lock().bytes() {
            let key = match byte {
                // q, and what Ctrl-C and Ctrl-D send.
                Ok(b'q' | b'Q' | 3 | 4) => Key::Quit,
                Ok(_) => Key::Other,
                Err(_) => return,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}
