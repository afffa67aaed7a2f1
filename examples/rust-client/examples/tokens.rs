//! Connects with tokens that expire and prints each change of the connection's state.
//!
//! Usage: `tokens [URL [FILE]]`, where something else keeps a fresh token in the file.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::{io, path::PathBuf};

use fanfare_client::{Client, ConnectionState};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    let file = PathBuf::from(arguments.next().unwrap_or_else(|| "token.txt".to_owned()));

    let client = Client::builder(&url)
        .name("tokens")
        .token_source(move || fresh_token(file.clone()))
        .on_state_change(print)
        .connect()
        .await?;

    // Until the client is closed for good; it renews its token by itself.
    client.state_changes().wait_for(|state| matches!(state, ConnectionState::Closed(_))).await;
    Ok(())
}

/// Asked for every connection, and again before a token expires.
async fn fresh_token(file: PathBuf) -> io::Result<String> {
    let token = tokio::fs::read_to_string(file).await?;
    println!("took a token");
    Ok(token.trim().to_owned())
}

fn print(state: &ConnectionState) {
    match state {
        ConnectionState::Connecting { last_failure: None } => println!("connecting"),
        ConnectionState::Connecting { last_failure: Some(failure) } => {
            println!("connecting again after: {failure}")
        }
        ConnectionState::Connected(info) => {
            println!("connected to {} as {}", info.server, info.user.as_deref().unwrap_or("nobody"))
        }
        ConnectionState::Waiting { retry_in, failure } => {
            println!("next try in {retry_in:?}: {failure}");
        }
        ConnectionState::Closed(reason) => println!("closed: {reason}"),
        _ => {}
    }
}
