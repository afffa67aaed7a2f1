//! Publishes until Ctrl-C, then stops in good order.
//!
//! Usage: `stop [URL]`

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::{collections::VecDeque, time::Duration};

use fanfare_client::{Client, Error, PublishAck};
use tokio::task::JoinSet;

/// What became of the publishes.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    /// Not acknowledged, but perhaps stored.
    unknown: u64,
    failed: u64,
}

impl Tally {
    async fn settle(&mut self, ack: PublishAck) {
        match ack.await {
            Ok(_) => self.acknowledged += 1,
            Err(error) if error.may_have_happened() => self.unknown += 1,
            Err(_) => self.failed += 1,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    let client = Client::connect(&url).await?;
    let mut publisher = JoinSet::new();
    publisher.spawn(publish(client.clone()));

    println!("publishing until Ctrl-C");
    tokio::signal::ctrl_c().await?;

    // From here on nothing more is taken, which ends the publisher too. Closing may take a
    // second more where the broker is silent: 5 s in all.
    if let Err(error) = client.drain(Duration::from_secs(4)).await {
        println!("not all was settled: {error}");
    }
    while let Some(tally) = publisher.join_next().await {
        let tally = tally??;
        println!("{} acknowledged", tally.acknowledged);
        println!("{} not stored", tally.failed);
        match tally.unknown {
            0 => println!("none is stored without our knowing"),
            unknown => println!("{unknown} may be stored without our knowing"),
        }
    }
    Ok(())
}

/// Publishes until the client takes nothing more, then waits for the last acks.
async fn publish(client: Client) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    let mut acks = VecDeque::new();
    for n in 0_u64.. {
        match client.publish_json("room:42", &n).send().await {
            Ok(ack) => acks.push_back(ack),
            Err(Error::Closed { .. }) => break,
            Err(error) => return Err(error),
        }
        // Keep no more acks than may be under way.
        if acks.len() >= 1_000
            && let Some(ack) = acks.pop_front()
        {
            tally.settle(ack).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for ack in acks {
        tally.settle(ack).await;
    }
    Ok(tally)
}
