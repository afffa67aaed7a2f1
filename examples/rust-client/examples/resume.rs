//! Reads a topic and goes on where it was when it is started again.
//!
//! Usage: `resume [URL [TOPIC [FILE]]]`

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fanfare_client::{Client, Event, Position};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let file = PathBuf::from(arguments.next().unwrap_or_else(|| "resume-position.json".to_owned()));

    let kept = read(&file)?;
    let client = Client::connect(&url).await?;
    let request = client.subscribe(&topic);
    let mut orders = match kept {
        Some(position) => request.since(position).await?,
        // The first start: take what the broker still has.
        None => request.history(1_000).await?,
    };

    while let Some(event) = orders.next().await {
        match event {
            Event::Publication(publication) => {
                // Deal with it first, then keep its position: after a crash it comes again.
                println!("{} {}", publication.position, publication.text().unwrap_or("(binary)"));
                keep(&file, &publication.position)?;
            }
            Event::Gap(gap) => {
                println!("missed {}", count(gap.missed));
                keep(&file, &gap.position())?;
            }
            // All that was published in between follows: the position kept still counts.
            Event::Resubscribed { recovered: true, .. } => println!("going on, nothing was missed"),
            // What the broker still has of them can be had with `Client::history`.
            Event::Resubscribed { position, missed, .. } => {
                println!("going on after {position}, missed {}", count(missed));
                keep(&file, &position)?;
            }
            Event::Closed(reason) => return Err(format!("over: {reason}").into()),
            _ => {}
        }
    }
    Ok(())
}

/// Nobody can tell how many were missed where the topic began a new epoch.
fn count(missed: Option<u64>) -> String {
    match missed {
        Some(count) => format!("{count} publications"),
        None => "publications, unknown how many".to_owned(),
    }
}

/// The position kept last time, if there was one.
fn read(file: &Path) -> io::Result<Option<Position>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes beside the file and renames, so that the file is never half written.
fn keep(file: &Path, position: &Position) -> io::Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(position)?)?;
    fs::rename(beside, file)
}
