//! Publishing one, many, and once more after a failure.

use std::time::Duration;

use fanfare_client::{Client, Error, Position, Published};
use tokio::time::sleep;

use crate::Order;

/// Returns when the broker has it.
pub async fn publish(client: &Client, order: &Order) -> Result<Position, Error> {
    let published = client.publish_json("orders", order).await?;
    Ok(published.position)
}

/// Sends them all, then waits for the acks.
pub async fn publish_many(client: &Client, orders: &[Order]) -> Result<(), Error> {
    let mut acks = Vec::new();
    for order in orders {
        acks.push(client.publish_json("orders", order).send().await?);
    }
    for ack in acks {
        ack.await?;
    }
    Ok(())
}

/// Tries until it is stored, and stores it once.
pub async fn publish_until_stored(client: &Client, order: &Order) -> Result<Published, Error> {
    loop {
        match client.publish_json("orders", order).message_id(&order.id).await {
            Err(error) if error.is_retryable() => sleep(Duration::from_secs(1)).await,
            result => return result,
        }
    }
}
