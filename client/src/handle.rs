//! What users hold: clients, requests and subscriptions; it must not know the session, nor what goes over a socket.

mod client;
mod history;
mod into_topic;
mod link;
mod message_ids;
mod options;
mod publish;
mod shared;
mod subscription;
mod subscriptions;

pub use client::Client;
pub use history::HistoryRequest;
pub use into_topic::IntoTopic;
pub use options::ConnectOptions;
pub use publish::{PublishAck, PublishRequest};
pub use subscription::{SubscribeRequest, Subscription};
pub use subscriptions::{SubscribeManyRequest, Subscriptions};
