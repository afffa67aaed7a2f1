//! What TLS makes of the bytes of one connection. Pure: it knows no socket.
//!
//! Records are encrypted and decrypted in buffers that its thread lends, so a connection on which nothing is on its way holds
//! its keys and nothing else.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::rest::Rest;

/// Bytes that one record holds, and that are encrypted at most before the socket has taken what was encrypted before.
pub(super) const RECORD_BYTES: usize = 16 * 1024;
/// Room for a record of [`RECORD_BYTES`] once it is encrypted, and for what TLS has to say for itself before it.
pub(super) const ENCRYPTED_BYTES: usize = RECORD_BYTES + 1024;
/// Bytes that may have come and are not understood yet: a record, or a handshake message in several, such as a chain of
/// certificates.
pub(super) const INCOMING_BYTES_MAX: usize = 32 * 1024;
/// Records of data that are decrypted in one piece: small ones are many in few bytes.
const RECORDS_AT_ONCE: usize = 64;

/// The state of TLS on one connection.
pub(super) struct Session {
    tls: UnbufferedServerConnection,
    /// What has come and was not understood yet.
    incoming: Rest,
    /// Whether there may be whole records in it, which are looked at when the others have had their turn.
    has_more: bool,
    /// What was decrypted and there was no room for.
    decrypted: Rest,
    /// What is encrypted and the socket has not taken yet.
    unsent: Rest,
    /// Whether anything has come.
    has_begun: bool,
    /// Whether nothing more comes from the peer.
    is_over: bool,
    /// Whether the peer was told that nothing more comes from here.
    is_closed: bool,
    /// Whether the peer has broken the rules.
    has_failed: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("unsent", &self.unsent.as_slice().len()).finish_non_exhaustive()
    }
}

/// What one look at the state of TLS came to.
enum Step {
    /// There is more to look at.
    Further,
    /// Nothing more can be made of what has come.
    Stuck,
}

impl Session {
    /// A session that has yet to begin.
    ///
    /// # Errors
    /// What rustls says of the configuration.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            incoming: Rest::default(),
            has_more: false,
            decrypted: Rest::default(),
            unsent: Rest::default(),
            has_begun: false,
            is_over: false,
            is_closed: false,
            has_failed: false,
        })
    }

    /// Whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether it goes on with the keys of an earlier one, and in which version it speaks; for those that have begun.
    pub(super) fn kind(&self) -> (&'static str, &'static str) {
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        match self.tls.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => (version, "resumed"),
            _ => (version, "full"),
        }
    }

    /// Whether something can be had without the socket, the end included.
    pub(super) fn is_readable(&self) -> bool {
        !self.decrypted.is_empty() || self.has_more || self.is_over
    }

    /// Bytes that it holds of what is on its way.
    pub(super) fn held_bytes(&self) -> usize {
        self.incoming.held_bytes() + self.decrypted.held_bytes() + self.unsent.held_bytes()
    }

    /// What is to be written to the socket, in order.
    pub(super) fn unsent(&self) -> &[u8] {
        self.unsent.as_slice()
    }

    /// So much of it was written.
    pub(super) fn sent(&mut self, count: usize) {
        self.unsent.advance(count);
    }

    /// Has what is encrypted wait behind what waits.
    pub(super) fn keep_unsent(&mut self, encrypted: &[u8]) {
        self.unsent.push(encrypted);
    }

    /// What can be had without the socket, as far as there is room: `Some(0)` at the end, `None` where there is nothing.
    ///
    /// # Errors
    /// What rustls says of what the peer has sent.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, rustls::Error> {
        if self.decrypted.is_empty() && self.has_more {
            self.decrypt()?;
        }
        Ok(match self.decrypted.take(buffer) {
            0 if !self.is_over || self.has_more => None,
            count => Some(count),
        })
    }

    /// Takes in what has come; `&[]` is the end of the stream.
    ///
    /// # Errors
    /// What rustls says of what the peer has sent. What it is told of that is [to be sent](Self::unsent) yet.
    pub(super) fn receive(&mut self, encrypted: &[u8]) -> Result<(), rustls::Error> {
        if encrypted.is_empty() {
            // Whoever just cuts has said no less than others: how long what it said was to be is said elsewhere.
            self.is_over = true;
            return Ok(());
        }
        self.has_begun = true;
        self.incoming.push(encrypted);
        self.decrypt()?;
        if self.incoming.as_slice().len() > INCOMING_BYTES_MAX {
            self.fail();
            return Err(rustls::Error::General("a message of the handshake is too large".into()));
        }
        Ok(())
    }

    /// Decrypts what has come, a number of records of it.
    fn decrypt(&mut self) -> Result<(), rustls::Error> {
        for _ in 0..RECORDS_AT_ONCE {
            if let Step::Stuck = self.step()? {
                self.has_more = false;
                return Ok(());
            }
        }
        self.has_more = true;
        Ok(())
    }

    /// Has TLS look once at what has come and at what it has to say.
    fn step(&mut self) -> Result<Step, rustls::Error> {
        if self.has_failed {
            return Err(over());
        }
        if self.is_over {
            // Nothing counts that comes behind the end.
            self.incoming = Rest::default();
            return Ok(Step::Stuck);
        }
        let UnbufferedStatus { mut discard, state } =
            self.tls.process_tls_records(self.incoming.as_mut_slice());
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    self.decrypted.push(record.payload);
                }
                Ok(Step::Further)
            }
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                encode(&mut self.unsent, |room| message.encode(room));
                Ok(Step::Further)
            }
            Ok(ConnectionState::TransmitTlsData(message)) => {
                // It is sent before anything else is.
                message.done();
                Ok(Step::Further)
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.is_over = true;
                Ok(Step::Further)
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Step::Stuck),
            // Nobody is told that there may be early data.
            Ok(_) => Err(rustls::Error::General("what TLS wants is not known here".into())),
            Err(error) => Err(error),
        };
        self.incoming.advance(discard);
        if step.is_err() {
            self.fail();
        }
        step
    }

    /// Takes what TLS has to say of a failure. It is not to look at anything again.
    fn fail(&mut self) {
        (self.has_failed, self.is_closed) = (true, true);
        // As long as there is something to say it looks at nothing else.
        while self.tls.wants_write() {
            let status = self.tls.process_tls_records(self.incoming.as_mut_slice());
            let Ok(ConnectionState::EncodeTlsData(mut message)) = status.state else { return };
            encode(&mut self.unsent, |room| message.encode(room));
        }
    }

    /// Encrypts `data`, of [`RECORD_BYTES`] at most, into `room` of [`ENCRYPTED_BYTES`]; says how long it is then. What is to be
    /// sent before it may have come to [what waits](Self::unsent).
    ///
    /// # Errors
    /// What rustls says: the connection is over, or its keys are used up.
    pub(super) fn encrypt(&mut self, data: &[u8], room: &mut [u8]) -> Result<usize, rustls::Error> {
        self.write_with(|traffic| traffic.encrypt(data, room))
    }

    /// Whether the peer was told that nothing more comes from here.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Tells the peer that nothing more comes, behind what waits; once.
    pub(super) fn close(&mut self) {
        if self.is_closed || self.is_handshaking() {
            return;
        }
        self.is_closed = true;
        let mut room = [0; 1024];
        if let Ok(count) = self.write_with(|traffic| traffic.queue_close_notify(&mut room)) {
            self.unsent.push(&room[..count]);
        }
    }

    fn write_with(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_>) -> Result<usize, EncryptError>,
    ) -> Result<usize, rustls::Error> {
        loop {
            if self.has_failed {
                return Err(over());
            }
            // What has come has to be there again, for parts of it may have been understood.
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(self.incoming.as_mut_slice());
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let written = write(&mut traffic);
                    self.incoming.advance(discard);
                    return written.map_err(|error| rustls::Error::General(error.to_string()));
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        self.decrypted.push(record?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut self.unsent, |room| message.encode(room));
                }
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                Ok(ConnectionState::PeerClosed) => self.is_over = true,
                Ok(_) => return Err(rustls::Error::HandshakeNotComplete),
                Err(error) => {
                    self.incoming.advance(discard);
                    self.fail();
                    return Err(error);
                }
            }
            self.incoming.advance(discard);
        }
    }
}

type WriteTraffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

fn over() -> rustls::Error {
    rustls::Error::General("the peer has broken the rules of TLS".into())
}

/// Appends a message of TLS itself.
fn encode(unsent: &mut Rest, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let Err(EncodeError::InsufficientSize(needed)) = encode(&mut []) else { return };
    let mut room = vec![0; needed.required_size];
    if let Ok(count) = encode(&mut room) {
        unsent.push(&room[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use proptest::prelude::*;
    use rustls::crypto::ring;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

    use super::*;

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

    /// Two that have yet to begin.
    fn pair(version: &'static SupportedProtocolVersion) -> (ClientConnection, Session) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions that ring has")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a key that fits");
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version that ring has")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(client), name).expect("a client");
        (client, Session::new(Arc::new(server)).expect("a server"))
    }

    /// All that the client has to say.
    fn said(client: &mut ClientConnection) -> Vec<u8> {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).expect("memory takes it");
        }
        said
    }

    /// Has the client hear what waits for it.
    fn tell(client: &mut ClientConnection, session: &mut Session) {
        let mut unsent = session.unsent();
        while !unsent.is_empty() {
            client.read_tls(&mut unsent).expect("memory gives it");
            client.process_new_packets().expect("it is good");
        }
        session.sent(session.unsent().len());
    }

    /// Two that have agreed, by pieces of so many bytes.
    fn agreed(version: &'static SupportedProtocolVersion, piece: usize) -> (ClientConnection, Session) {
        let (mut client, mut session) = pair(version);
        while client.is_handshaking() || session.is_handshaking() {
            for piece in said(&mut client).chunks(piece) {
                session.receive(piece).expect("it is good");
            }
            tell(&mut client, &mut session);
        }
        assert_eq!(session.held_bytes(), 0, "nothing is on its way");
        (client, session)
    }

    /// Has the session write, and the client read.
    fn write(session: &mut Session, client: &mut ClientConnection, data: &[u8]) {
        let mut room = vec![0; ENCRYPTED_BYTES];
        for piece in data.chunks(RECORD_BYTES) {
            let count = session.encrypt(piece, &mut room).expect("it may write");
            session.keep_unsent(&room[..count]);
            tell(client, session);
            let mut read = vec![0; piece.len()];
            client.reader().read_exact(&mut read).expect("all of it");
            assert_eq!(read, piece);
        }
    }

    fn read_all(session: &mut Session, size: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
        while let Some(count @ 1..) = session.read(&mut buffer).expect("it is good") {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bytes_arrive_as_they_were_whatever_pieces_they_come_in(
            is_new in any::<bool>(),
            piece in 1..3000_usize,
            size in 1..40_000_usize,
            messages in prop::collection::vec(1..40_000_usize, 1..6),
        ) {
            let (mut client, mut session) = agreed(VERSIONS[usize::from(is_new)], piece);
            for (n, length) in messages.into_iter().enumerate() {
                let data: Vec<u8> = (0..length).map(|at| (at + n) as u8).collect();
                let (mut read, mut rest) = (Vec::new(), &data[..]);
                while !rest.is_empty() {
                    let written = client.writer().write(rest).expect("memory takes it");
                    rest = &rest[written..];
                    for piece in said(&mut client).chunks(piece) {
                        session.receive(piece).expect("it is good");
                        // In the midst of a record it writes as well.
                        write(&mut session, &mut client, b"meanwhile");
                        read.extend(read_all(&mut session, size));
                    }
                }
                prop_assert!(read == data);
                write(&mut session, &mut client, &data);
                prop_assert_eq!(session.held_bytes(), 0, "nothing is on its way");
            }
        }
    }

    #[test]
    fn many_small_records_are_looked_at_a_few_at_a_time() {
        const COUNT: usize = 3 * RECORDS_AT_ONCE;
        for version in VERSIONS {
            let (mut client, mut session) = agreed(version, usize::MAX);
            let mut all = Vec::new();
            for _ in 0..COUNT {
                client.writer().write_all(b"x").expect("memory takes it");
                all.extend(said(&mut client));
            }
            session.receive(&all).expect("it is good");
            let (mut buffer, mut reads) = ([0; COUNT], Vec::new());
            while session.is_readable() {
                reads.extend(session.read(&mut buffer).expect("it is good"));
            }
            assert_eq!(reads.iter().sum::<usize>(), COUNT);
            assert!(reads.iter().all(|&read| read <= RECORDS_AT_ONCE), "{reads:?}");
        }
    }

    #[test]
    fn whoever_has_said_all_can_still_be_told_something() {
        for version in VERSIONS {
            let (mut client, mut session) = agreed(version, usize::MAX);
            client.writer().write_all(b"last").expect("memory takes it");
            client.send_close_notify();
            session.receive(&said(&mut client)).expect("it is good");
            let mut buffer = [0; 8];
            assert_eq!(session.read(&mut buffer), Ok(Some(4)));
            assert_eq!(session.read(&mut buffer), Ok(Some(0)), "that was the end");
            write(&mut session, &mut client, b"an answer");
            session.close();
            tell(&mut client, &mut session);
            assert_eq!(client.reader().read(&mut buffer).expect("an end"), 0, "it is told of this end too");
        }
    }

    #[test]
    fn whoever_breaks_the_rules_is_told_once_and_nothing_counts_any_more() {
        for version in VERSIONS {
            let (mut client, mut session) = agreed(version, usize::MAX);
            session
                .receive(b"\x17\x03\x03\x00\x20................................")
                .expect_err("it is not good");
            let unsent = session.unsent().to_vec();
            assert!(!unsent.is_empty());
            client.writer().write_all(b"more").expect("memory takes it");
            session.receive(&said(&mut client)).expect_err("it is too late");
            session.encrypt(b"x", &mut [0; ENCRYPTED_BYTES]).expect_err("it is over");
            session.close();
            assert_eq!(session.unsent(), unsent);
        }
    }

    #[test]
    fn what_cannot_be_understood_yet_is_bounded() {
        let (_, mut session) = pair(&version::TLS13);
        // A message of the handshake that is announced to be large, a little in each record.
        let mut records = Vec::new();
        for n in 0..INCOMING_BYTES_MAX / 1000 + 2 {
            let mut record = vec![22, 3, 1, (1000_u16 >> 8) as u8, (1000 & 0xff) as u8];
            record.extend(if n == 0 { vec![1, 0, 0xff, 0xff] } else { vec![0; 4] });
            record.resize(5 + 1000, 0);
            records.push(record);
        }
        let refused = records.iter().position(|record| session.receive(record).is_err());
        assert!(refused.is_some_and(|nth| nth > 16), "{refused:?}");
        assert!(session.held_bytes() <= 2 * INCOMING_BYTES_MAX + 2000, "{}", session.held_bytes());
    }
}
