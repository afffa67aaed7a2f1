//! A client of the Fanfare broker.
//!
//! A [`Client`] is a handle, cheap to clone, of one connection that keeps itself up: it reconnects with
//! jittered back-off, subscribes again from the last position, and sends again what was not acknowledged. A
//! [`Subscription`] is a stream of [`Event`]s; a publish is a future of its ack, [`Published`].
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
//! # let url = format!("ws://{}", broker.public_addr());
//! use fanfare_client::{Client, Event};
//!
//! let client = Client::connect(&url).await?;
//! let mut room = client.subscribe("room:42").await?;
//! client.publish_json("room:42", "hello").await?;
//! while let Some(event) = room.next().await {
//!     if let Event::Publication(publication) = event {
//!         assert_eq!(publication.json::<String>()?, "hello");
//!         break;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//! - A subscription yields its topic's publications in order, each once. Where some are missing,
//!   [`Event::Gap`] or [`Event::Resubscribed`] with `recovered: false` stands in their place and says how
//!   many.
//! - An acknowledged publish has its position. One without an ack is sent again after a reconnect under the
//!   same `message_id`, so it is stored once.
//! - Everything is bounded. A reader that keeps up loses nothing, however large the bursts: reading from the broker
//!   waits for it. One that is too slow loses events and is told so; a publisher that is too fast waits, or is told
//!   so, as it chooses.
//! - A connection that has gone silent while something waits for an answer is left after 10 s, and what waits goes on
//!   with the next one.
//!
//! # How it works
//! One task, the driver, owns the socket. Handles send it commands; a session without IO decides what they
//! and the broker's frames mean; a wire carries frames. Read `driver.rs`, then `session/mod.rs`.

mod backlog;
mod client;
mod command;
mod deadline;
mod dial;
mod driver;
mod endpoint;
mod error;
mod event;
mod failure;
mod heard;
mod history;
mod inbox;
mod link;
mod options;
mod own;
mod payload;
mod pressure;
mod proxy;
mod publish;
mod queue;
mod reach;
mod reconnect;
mod refresh;
mod session;
mod state;
mod statistics;
mod subscription;
mod subscriptions;
#[cfg_attr(not(feature = "_tls"), path = "no_tls.rs")]
mod tls;
mod token;
mod wire;

pub use client::{Client, IntoTopic};
pub use error::Error;
pub use event::{Event, Gap, Publication};
pub use failure::{Failure, FailureKind};
pub use fanfare_protocol::{
    CloseCode, Codec, Epoch, ErrorCode, InvalidEpoch, InvalidPosition, InvalidTopic, Offset, OnLag,
    PayloadKind, Position, TopicName,
};
pub use history::{History, HistoryRequest};
pub use options::ConnectOptions;
pub use payload::Payload;
pub use publish::{PublishAck, PublishRequest, Published};
#[cfg(feature = "_tls")]
pub use rustls;
pub use state::{CloseReason, ConnectionInfo, ConnectionState, StateChanges};
pub use statistics::Statistics;
pub use subscription::{SubscribeRequest, Subscription};
pub use subscriptions::{SubscribeManyRequest, Subscriptions};
pub use {bytes, serde_json};
