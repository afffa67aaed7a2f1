//! How a client fares, and how it ends.

use std::time::Duration;

use fanfare_client::{Client, ConnectionState, Error};

/// Returns when all is settled, or after ten seconds.
pub async fn stop(client: &Client) -> Result<(), Error> {
    client.drain(Duration::from_secs(10)).await
}

/// Tells each state that the connection comes to, the present one first.
pub async fn follow_state(client: &Client, mut tell: impl FnMut(ConnectionState)) {
    let mut states = client.state_changes();
    while let Some(state) = states.next().await {
        tell(state);
    }
}

/// How many publishes failed, and how many publications readers missed.
pub fn losses(client: &Client) -> (u64, u64) {
    let statistics = client.statistics();
    (statistics.failed, statistics.missed)
}
