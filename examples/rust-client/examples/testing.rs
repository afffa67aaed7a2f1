//! Starts a broker within the process, publishes and subscribes against it.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::time::Duration;

use fanfare_client::{Client, Event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In memory, on a free port.
    let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
    let url = format!("ws://{}", broker.public_addr());
    let client = Client::builder(&url).fail_fast(true).connect().await?;

    let mut room = client.subscribe("room:42").await?;
    let published = client.publish_json("room:42", "hello").await?;

    let event = tokio::time::timeout(Duration::from_secs(5), room.next()).await?;
    let Some(Event::Publication(publication)) = event else {
        return Err(format!("no publication, but {event:?}").into());
    };
    assert_eq!(publication.json::<String>()?, "hello");
    assert_eq!(publication.position, published.position);

    client.drain(Duration::from_secs(5)).await?;
    println!("all is well");
    Ok(())
}
