//! Prints what is published to some topics, beginning with the last ten of each.
//!
//! Usage: `subscribe [URL [TOPIC...]]`

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use fanfare_client::{Client, Event, Publication};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    let mut topics: Vec<String> = arguments.collect();
    if topics.is_empty() {
        topics.push("room:42".to_owned());
    }

    let client = Client::connect(&url).await?;
    let mut events = client.subscribe_many(&topics).history(10).await?;
    while let Some((topic, event)) = events.next().await {
        match event {
            Event::Publication(publication) => print(&publication),
            Event::Gap(gap) => println!("{topic}: MISSED {}", count(gap.missed)),
            Event::Resubscribed { recovered: true, .. } => {
                println!("{topic}: connected again, nothing was missed")
            }
            Event::Resubscribed { missed, .. } => {
                println!("{topic}: connected again, MISSED {}", count(missed));
            }
            Event::Closed(reason) => println!("{topic}: over: {reason}"),
            _ => {}
        }
    }
    Ok(())
}

fn print(publication: &Publication) {
    let (topic, position) = (&publication.topic, &publication.position);
    match publication.text() {
        Some(text) => println!("{topic} {position} {text}"),
        None => {
            let bytes = publication.payload.as_bytes().len();
            println!("{topic} {position} ({bytes} bytes)");
        }
    }
}

/// The topic may have begun a new epoch: then nobody can tell how many were missed.
fn count(missed: Option<u64>) -> String {
    match missed {
        Some(count) => format!("{count} publications"),
        None => "publications, unknown how many".to_owned(),
    }
}
