//! An identity provider: it signs tokens, and answers with its keys, or with whatever a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm};
use fanfare_harness::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A key to sign with, by its id.
pub(super) struct Key {
    kid: String,
    pair: rcgen::KeyPair,
}

impl Key {
    pub(super) fn new(kid: &str) -> Self {
        Self { kid: kid.into(), pair: rcgen::KeyPair::generate().expect("a key on P-256") }
    }

    pub(super) fn token(&self, user: &str) -> String {
        self.token_called(&self.kid, user)
    }

    /// A token that says it was signed by the key of that id.
    pub(super) fn token_called(&self, kid: &str, user: &str) -> String {
        let all = vec!["*".to_owned()];
        let grant = GrantConfig { subscribe: all.clone(), publish: all, ..GrantConfig::default() };
        let token = NewToken {
            user: user.into(),
            grant,
            ttl: Duration::from_secs(600),
            kid: Some(kid.into()),
            ..NewToken::default()
        };
        let secret = SigningSecret::new(JwtAlgorithm::ES256, self.pair.serialize_pem().as_bytes());
        secret.expect("a key").sign(token).expect("it can sign")
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "x": text(x), "y": text(y)})
    }
}

/// The keys as a set.
pub(super) fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}).to_string()
}

/// How it answers.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// With 200 and that.
    Ok(String),
    /// With these bytes.
    Bytes(Vec<u8>),
    /// It closes.
    Gone,
    /// It says nothing.
    Hang,
    /// A byte of a good answer now and then.
    Drip(String),
    /// A body without an end.
    Endless,
}

impl Answer {
    pub(super) fn set(keys: &[&Key]) -> Self {
        Self::Ok(set(keys))
    }
}

/// What it knows of those who ask.
#[derive(Debug, Default)]
struct Seen {
    asked: AtomicUsize,
    open: AtomicUsize,
    paths: Mutex<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Provider {
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Seen>,
    port: u16,
    is_secure: bool,
    /// Accepts and answers while this is there.
    _accepting: JoinSet<()>,
}

impl Provider {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::start_with(answer, None).await
    }

    pub(super) async fn start_with(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let (answer, seen) = (Arc::new(Mutex::new(answer)), Arc::<Seen>::default());
        let is_secure = tls.is_some();
        let (answers, sees) = (Arc::clone(&answer), Arc::clone(&seen));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut replies = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                sees.asked.fetch_add(1, Ordering::SeqCst);
                sees.open.fetch_add(1, Ordering::SeqCst);
                let answer = answers.lock().expect("nobody panics with it").clone();
                let (seen, tls) = (Arc::clone(&sees), tls.clone());
                replies.spawn(async move {
                    match tls {
                        None => reply(socket, answer, &seen).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                reply(socket, answer, &seen).await;
                            }
                        }
                    }
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { answer, seen, port, is_secure, _accepting: accepting }
    }

    pub(super) fn url(&self) -> String {
        match self.is_secure {
            true => format!("https://localhost:{}/keys?secret=of-the-query", self.port),
            false => format!("http://127.0.0.1:{}/keys?secret=of-the-query", self.port),
        }
    }

    /// It answers so from now on.
    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::SeqCst)
    }

    /// How many are there to ask now.
    pub(super) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.seen.paths.lock().expect("nobody panics with it").clone()
    }

    /// Waits until it was asked so often, anew.
    pub(super) async fn is_asked(&self, times: usize) {
        let before = self.asked();
        eventually("a fetch", || self.asked() >= before + times).await;
    }
}

async fn reply(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, seen: &Seen) {
    if matches!(answer, Answer::Gone) {
        return;
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("text");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    seen.paths.lock().expect("nobody panics with it").push(path);
    match answer {
        Answer::Ok(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(socket.write_all((head + &body).as_bytes()).await);
        }
        Answer::Bytes(bytes) => drop(socket.write_all(&bytes).await),
        Answer::Gone => {}
        Answer::Hang => {
            // Until whoever asks goes.
            drop(socket.read_u8().await);
        }
        Answer::Drip(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            for byte in (head + &body).into_bytes() {
                if socket.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Endless => {
            drop(socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[").await);
            while socket.write_all(&[b' '; 4096]).await.is_ok() {}
        }
    }
    drop(socket.shutdown().await);
}
