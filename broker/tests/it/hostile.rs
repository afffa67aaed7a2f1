//! Hostile peers: each is turned away with the right code, and nobody else notices.

mod floods;
mod framing;
mod handshake;
mod protocol;
mod slowness;

use std::time::Duration;

use fanfare::Broker;
use fanfare_harness::Client;
use serde_json::json;

/// A connection that has nothing to do with an attack on the same broker.
struct Bystander(Client);

impl Bystander {
    async fn join(broker: &Broker) -> Self {
        let mut client = Client::connect(broker).await;
        client.subscribe("bystanders").await;
        Self(client)
    }

    /// Answers pings meanwhile, and hears nothing else.
    async fn reads_for(&mut self, time: Duration) {
        tokio::time::timeout(time, self.0.receive()).await.expect_err("nobody publishes");
    }

    /// The connection still works, and a new one does too.
    async fn still_works(mut self, broker: &Broker) {
        Client::connect(broker).await.publish("bystanders", json!("still here?")).await;
        assert_eq!(self.0.expect("message").await["data"], "still here?");
        self.0.publish("bystanders", json!("yes")).await;
        assert_eq!(self.0.expect("message").await["data"], "yes");
    }
}
