//! WebSocket frames, as far as a client needs to read them that wants to be no bottleneck.
//!
//! Servers do not mask, so a message is read where it lies; nothing is copied but what one read left
//! unfinished.

/// Largest message taken from a server, in bytes: more than any payload with its envelope.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What arrived, borrowed from where it was read to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// The server closes, with this code if it gave one.
    Close(Option<u16>),
    Message(&'a [u8]),
    /// A ping, to be answered with a pong of the same content.
    Ping(&'a [u8]),
    /// The answer to a ping, with its content.
    Pong(&'a [u8]),
}

/// What the server sent is no WebSocket: says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server violated the WebSocket protocol: {0}")]
pub(crate) struct Violation(&'static str);

/// The reading half of one connection.
#[derive(Debug, Default)]
pub(crate) struct Incomings {
    /// The front of a frame whose end has not been read yet; bounded by [`MESSAGE_BYTES_MAX`].
    unfinished: Vec<u8>,
    /// The fragments of a message so far; bounded by [`MESSAGE_BYTES_MAX`].
    fragments: Vec<u8>,
    in_fragments: bool,
}

impl Incomings {
    /// What belongs before the bytes that are read next.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.unfinished
    }

    /// Keeps what [`next`](Self::next) has left of `input`.
    pub(crate) fn keep(&mut self, input: &[u8]) {
        self.unfinished.clear();
        self.unfinished.extend_from_slice(input);
    }

    /// Takes the next message off the front of `input`; nothing when its end is not there yet.
    pub(crate) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Incoming<'a>>, Violation> {
        loop {
            let Some((first, body)) = take_frame(input)? else { return Ok(None) };
            let last = first & 0x80 != 0;
            match first & 0x0F {
                0 if self.in_fragments => {
                    self.add_fragment(body)?;
                    if last {
                        self.in_fragments = false;
                        return Ok(Some(Incoming::Message(&self.fragments)));
                    }
                }
                1 | 2 if !self.in_fragments && last => return Ok(Some(Incoming::Message(body))),
                1 | 2 if !self.in_fragments => {
                    self.fragments.clear();
                    self.in_fragments = true;
                    self.add_fragment(body)?;
                }
                0..=2 => return Err(Violation("a fragment out of place")),
                8 => return Ok(Some(Incoming::Close(body.first_chunk().map(|c| u16::from_be_bytes(*c))))),
                9 => return Ok(Some(Incoming::Ping(body))),
                10 => return Ok(Some(Incoming::Pong(body))),
                _ => return Err(Violation("an unknown opcode")),
            }
        }
    }

    fn add_fragment(&mut self, body: &[u8]) -> Result<(), Violation> {
        if self.fragments.len() + body.len() > MESSAGE_BYTES_MAX {
            return Err(Violation("a message above all bounds"));
        }
        self.fragments.extend_from_slice(body);
        Ok(())
    }
}

/// Takes a whole frame off the front of `input`: its first byte and its body.
fn take_frame<'a>(input: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Violation> {
    let &[first, second, ref rest @ ..] = *input else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Violation("reserved bits are set"));
    }
    let control = first & 0x08 != 0;
    if control && (first & 0x80 == 0 || second > 125) {
        return Err(Violation("a control frame that is too long or in fragments"));
    }
    let (length, rest) = match second {
        0..=125 => (u64::from(second), rest),
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        128.. => return Err(Violation("a server's frame is masked")),
    };
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(Violation("a message above all bounds"));
    }
    let Some((body, rest)) = rest.split_at_checked(length as usize) else { return Ok(None) };
    *input = rest;
    Ok(Some((first, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server writes it.
    fn frame(first: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match body.len() {
            length @ 0..=125 => out.push(length as u8),
            length @ 126..=65_535 => out.extend([&[126], &(length as u16).to_be_bytes()[..]].concat()),
            length => out.extend([&[127], &(length as u64).to_be_bytes()[..]].concat()),
        }
        out.extend_from_slice(body);
        out
    }

    /// What is read when the stream arrives in the given pieces, as text.
    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let mut incomings = Incomings::default();
        let mut seen = Vec::new();
        for piece in pieces {
            let bytes = [incomings.unfinished(), piece].concat();
            let mut rest = &bytes[..];
            while let Some(incoming) = incomings.next(&mut rest)? {
                seen.push(match incoming {
                    Incoming::Message(body) => format!("message {} {:?}", body.len(), body.first()),
                    Incoming::Ping(body) => format!("ping {body:?}"),
                    Incoming::Pong(body) => format!("pong {}", String::from_utf8_lossy(body)),
                    Incoming::Close(code) => format!("close {code:?}"),
                });
            }
            incomings.keep(rest);
        }
        Ok(seen)
    }

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_split() {
        let stream = [
            frame(0x81, b"hello"),
            frame(0x82, &[7; 126]),
            frame(0x89, b"hi"),
            frame(0x01, b"two "),
            frame(0x8A, b"between fragments"),
            frame(0x80, b"parts"),
            frame(0x81, b""),
            frame(0x82, &[9; 70_000]),
            frame(0x88, &1012u16.to_be_bytes()),
        ]
        .concat();
        let whole = read(&[&stream]).expect("well-formed");
        let expected = [
            "message 5 Some(104)",
            "message 126 Some(7)",
            "ping [104, 105]",
            "pong between fragments",
            "message 9 Some(116)",
            "message 0 None",
            "message 70000 Some(9)",
            "close Some(1012)",
        ];
        assert_eq!(whole, expected);
        // The inside of the large message is as dull as its start: some of it will do.
        for at in (0..=1000).chain(69_900..=stream.len()) {
            let (left, right) = stream.split_at(at);
            assert_eq!(read(&[left, right]).expect("well-formed"), whole, "split at {at}");
        }
        let small = &stream[..200];
        let one_by_one: Vec<&[u8]> = small.chunks(1).collect();
        assert_eq!(read(&one_by_one), read(&[small]), "byte by byte");
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for (bytes, what) in [
            (vec![0xC1, 0], "reserved bits"),
            (vec![0x83, 0], "opcode"),
            (vec![0x81, 0x80, 0, 0, 0, 0], "masked"),
            (vec![0x80, 0], "out of place"),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), "out of place"),
            (vec![0x09, 0], "control"),
            (vec![0x89, 126, 0, 126], "control"),
            ([vec![0x82, 127], (1u64 << 63).to_be_bytes().to_vec()].concat(), "bounds"),
        ] {
            let violation = read(&[&bytes]).expect_err(what);
            assert!(violation.to_string().contains(what), "{violation} should say {what}");
        }
    }
}
