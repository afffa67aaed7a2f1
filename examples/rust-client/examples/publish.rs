//! Publishes one message, then a thousand quickly, then one that is safe to publish again.
//!
//! Usage: `publish [URL]`

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::time::Duration;

use fanfare_client::{Client, Error, Published};

const TOPIC: &str = "room:42";
const MANY: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    let client = Client::connect(&url).await?;

    // One: wait for its ack.
    let published = client.publish(TOPIC, "hello").await?;
    println!("one is at {}", published.position);

    // Many: hand them over as fast as there is capacity, then wait for the acks.
    let mut acks = Vec::with_capacity(MANY);
    for n in 0..MANY {
        acks.push(client.publish_json(TOPIC, &n).send().await?);
    }
    let mut acknowledged = 0;
    for ack in acks {
        let id = ack.message_id().to_owned();
        match ack.await {
            Ok(_) => acknowledged += 1,
            Err(error) if error.may_have_happened() => eprintln!("{id} may be stored: {error}"),
            Err(error) => eprintln!("{id} is not stored: {error}"),
        }
    }
    println!("{acknowledged} of {MANY} are acknowledged");

    // Again under an id of our own: it is stored once.
    let first = publish_safely(&client, "order 42 is paid", "order-42-paid").await?;
    let again = publish_safely(&client, "order 42 is paid", "order-42-paid").await?;
    println!("first at {}, duplicate: {}", first.position, first.duplicate);
    println!("again at {}, duplicate: {}", again.position, again.duplicate);

    client.drain(Duration::from_secs(5)).await?;
    if acknowledged < MANY {
        return Err("some are not acknowledged".into());
    }
    Ok(())
}

/// Tries up to three times; the id keeps a second copy from being stored.
async fn publish_safely(client: &Client, text: &str, id: &str) -> Result<Published, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match client.publish(TOPIC, text).message_id(id).await {
            Err(error) if error.is_retryable() && tries < 3 => {
                eprintln!("try {tries}: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            settled => return settled,
        }
    }
}
