//! Publishing by the client crate, as a backend would.

use std::collections::VecDeque;

use anyhow::Context as _;
use fanfare_client::{Client, Payload, PublishAck};

use super::Flow;

/// Publishes with `client` until it is time to end and all is answered.
pub(crate) async fn publish(flow: &mut Flow<'_>, client: &Client) -> anyhow::Result<()> {
    let worker = flow.worker;
    let mut acks: VecDeque<PublishAck> = VecDeque::new();
    while !flow.is_done() {
        while flow.has_capacity() {
            let (topic, payload) = flow.next();
            let text = std::str::from_utf8(payload).context("a stamped payload is ASCII")?;
            let payload = Payload::json(text).map_err(anyhow::Error::msg)?;
            acks.push_back(client.publish(&worker.plan.topics[topic as usize], payload).send().await?);
        }
        let Some(oldest) = acks.pop_front() else { continue };
        match oldest.await {
            Ok(_) => flow.acknowledged(),
            Err(e) => flow.refused(&e.to_string()),
        }
    }
    Ok(())
}
