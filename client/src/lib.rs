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
//!   same `message_id`. Within the broker's window (`duplicate_window`, 2 minutes by default, and good for 10,000
//!   publications a second on one topic) it is stored once; after a restart of the broker, which forgets, it may be
//!   stored twice.
//! - Everything is bounded, in number and in bytes. A reader that keeps up with its topic loses nothing to bursts,
//!   replays and histories: reading from the broker waits for it while it goes on reading, up to 2 s at a time and a
//!   quarter of the time. One that is slower loses events and is told so; a publisher that is too fast waits, or is
//!   told so, as it chooses.
//! - A connection that has gone silent while something waits for an answer is left after 10 s, and what waits goes on
//!   with the next one.
//! - A failed publish says whether [it may have happened](Error::may_have_happened) all the same.
//!
//! # Publish
//! Await a [`PublishRequest`] for its ack, or [`send`](PublishRequest::send) it and await the ack later: then many are
//! under way at once. See [`Client::publish`]; with an id of your own a retry is safe, from another process too:
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
//! # let url = format!("ws://{}", broker.public_addr());
//! # let client = fanfare_client::Client::connect(&url).await?;
//! let first = client.publish_json("orders", &42).message_id("order-42-paid").await?;
//! let again = client.publish_json("orders", &42).message_id("order-42-paid").await?;
//! assert_eq!(again.position, first.position);
//! assert!(again.duplicate);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Subscribe
//! See [`Client::subscribe`] for one topic, [`Client::subscribe_many`] for many as one stream. A subscription is a
//! [`Stream`](futures_util::stream::Stream) as well.
//!
//! # Go on where the process was
//! Keep the position of what was dealt with, wherever serde can write it, and subscribe `since` there:
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
//! # let url = format!("ws://{}", broker.public_addr());
//! # let client = fanfare_client::Client::connect(&url).await?;
//! # client.publish_json("orders", &1).await?;
//! use fanfare_client::{Event, Position};
//!
//! let mut kept = String::new(); // a file, a row of a database
//! let mut orders = client.subscribe("orders").history(1).await?;
//! if let Some(Event::Publication(order)) = orders.next().await {
//!     // ... deal with it, then keep where that was.
//!     kept = serde_json::to_string(&order.position)?;
//! }
//! # drop(orders);
//! # client.publish_json("orders", &2).await?;
//!
//! // In the next life:
//! let position: Position = serde_json::from_str(&kept)?;
//! let mut orders = client.subscribe("orders").since(position).await?;
//! match orders.next().await {
//!     Some(Event::Resubscribed { recovered: true, .. }) => {} // all since then follows
//!     Some(Event::Resubscribed { missed, .. }) => println!("fetch it elsewhere: {missed:?} are gone"),
//!     _ => {}
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Stop
//! [`drain`](Client::drain) waits for the acks of what was handed over, then closes; [`flush`](Client::flush) waits
//! without closing, [`close`](Client::close) closes without waiting. Handles that are dropped end the client once what
//! was handed over is settled.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
//! # let url = format!("ws://{}", broker.public_addr());
//! # let client = fanfare_client::Client::connect(&url).await?;
//! use std::time::Duration;
//!
//! client.publish_json("room:42", "bye").send().await?;
//! client.drain(Duration::from_secs(5)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Tokens
//! [`token`](ConnectOptions::token) for one that does not expire; [`token_source`](ConnectOptions::token_source) for
//! those that do: it is asked for every connection, and again before a token expires.
//!
//! # Test
//! A scripted broker is seldom needed: the real one starts within a test.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?; // in memory, on a free port
//! let url = format!("ws://{}", broker.public_addr());
//! let client = fanfare_client::Client::builder(&url).fail_fast(true).connect().await?;
//! client.ping().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//! One task, the driver, owns the socket. Handles send it commands; a session without IO decides what they
//! and the broker's frames mean; a wire carries frames. Read `driver.rs`, then `session.rs`.

// The wings, from the top down; what none of them owns stands on the ground beside this file. Arrows go down only: the
// session and the transport know nothing of each other, and the ground knows no wing.
mod handle;

mod driver;

mod session;
mod transport;

mod channel;

mod answer;
mod deadline;
mod error;
mod event;
mod failure;
mod payload;
mod state;
mod statistics;

pub use answer::{History, Published};
pub use error::Error;
pub use event::{Event, Gap, Publication};
pub use failure::{Failure, FailureKind};
pub use fanfare_protocol::{
    CloseCode, Codec, Epoch, ErrorCode, InvalidEpoch, InvalidPosition, InvalidTopic, Offset, OnLag,
    PayloadKind, Position, TopicName,
};
pub use handle::{
    Client, ConnectOptions, HistoryRequest, IntoTopic, PublishAck, PublishRequest, SubscribeManyRequest,
    SubscribeRequest, Subscription, Subscriptions,
};
pub use payload::Payload;
#[cfg(feature = "_tls")]
pub use rustls;
pub use state::{CloseReason, ConnectionInfo, ConnectionState, StateChanges};
pub use statistics::Statistics;
/// TLS as a client has it, for the command line, which also asks listeners that speak no WebSocket. No part of what this
/// crate promises.
#[cfg(feature = "_tls")]
#[doc(hidden)]
pub use transport::{Trust, secure};
pub use {bytes, serde_json};
