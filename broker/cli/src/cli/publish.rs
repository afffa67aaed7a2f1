//! `fanfare pub`.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read};

use fanfare_client::{Client, Payload, PublishAck, Published};
use tokio::sync::mpsc;

use super::args::{KindArg, PubArgs};
use super::output;

/// Publications that may wait for their acks at once.
const PIPELINED_MAX: usize = 1024;
/// Lines read ahead of publishing.
const LINES_AHEAD_MAX: usize = 256;

/// Publishes, and prints each publication's position.
pub(crate) fn run(args: PubArgs) -> anyhow::Result<()> {
    if let Err(usage) = args.check() {
        usage.exit();
    }
    let from_stdin = args.is_from_stdin();
    // The only way to name the kind of nothing typed.
    if from_stdin && !args.lines && args.data.is_none() && io::stdin().is_terminal() {
        anyhow::bail!("nothing to publish: give DATA, or - to type it");
    }
    super::runtime()?.block_on(async {
        let client = args.connect.connect(None).await?;
        if args.lines {
            publish_lines(&client, &args).await?;
        } else {
            let bytes = match (from_stdin, &args.data) {
                (false, Some(data)) => data.clone().into_bytes(),
                _ => {
                    let mut bytes = Vec::new();
                    io::stdin().lock().read_to_end(&mut bytes)?;
                    bytes
                }
            };
            let request = client.publish(args.topic.clone(), payload(bytes, args.kind())?);
            let request = match &args.message_id {
                Some(id) => request.message_id(id),
                None => request,
            };
            print(&args, &request.await?)?;
        }
        client.drain(std::time::Duration::from_secs(5)).await?;
        Ok(())
    })
}

/// Publishes each line, many at a time, and prints their positions in order.
async fn publish_lines(client: &Client, args: &PubArgs) -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::channel(LINES_AHEAD_MAX);
    // Standard input has no end that could be waited for; this thread ends with the process.
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    let mut waiting: VecDeque<PublishAck> = VecDeque::new();
    loop {
        let line = tokio::select! {
            biased;
            published = async { waiting.front_mut().expect("not empty").await }, if !waiting.is_empty() => {
                waiting.pop_front();
                print(args, &published?)?;
                continue;
            }
            line = lines.recv(), if waiting.len() < PIPELINED_MAX => line,
        };
        let Some(line) = line else { break };
        let mut line = line?;
        if line.ends_with(b"\r") {
            line.pop();
        }
        let request = client.publish(args.topic.clone(), payload(line, args.kind())?);
        waiting.push_back(request.send().await?);
    }
    for ack in waiting {
        print(args, &ack.await?)?;
    }
    Ok(())
}

fn payload(bytes: Vec<u8>, kind: Option<KindArg>) -> anyhow::Result<Payload> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("the data is not UTF-8"));
    Ok(match kind {
        Some(KindArg::Binary) => Payload::binary(bytes),
        Some(KindArg::Json) => {
            Payload::json(&text(bytes)?).map_err(|e| anyhow::anyhow!("the data is {e}"))?
        }
        Some(KindArg::Text) => Payload::text(text(bytes)?),
        None => match String::from_utf8(bytes) {
            Ok(text) => Payload::text(text),
            Err(e) => Payload::binary(e.into_bytes()),
        },
    })
}

fn print(args: &PubArgs, published: &Published) -> anyhow::Result<()> {
    let Published { position, duplicate, .. } = published;
    if output::is_for_people() {
        let note = if *duplicate { " (published before)" } else { "" };
        return output::line(&format!("{} {position}{note}", args.topic));
    }
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        epoch: &'a str,
        offset: u64,
        duplicate: bool,
    }
    let (epoch, offset) = (position.epoch.as_str(), position.offset.get());
    let line = Line { topic: args.topic.as_str(), epoch, offset, duplicate: *duplicate };
    output::line(&serde_json::to_string(&line)?)
}
