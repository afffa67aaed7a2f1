//! `fanfare sub`.

use std::time::{Duration, Instant};

use fanfare_client::{Client, Event, PayloadKind, Publication, TopicName};
use fanfare_protocol::{Codec, Message, PayloadRef, ServerFrame, TopicRef};
use futures_util::stream::{SelectAll, StreamExt};

use super::args::SubArgs;
use super::output;

/// Events of one topic that may wait to be printed; what comes beyond is a gap. A replay comes at once.
const EVENTS_WAITING_MAX: usize = 1 << 16;

/// Prints what is published, until it is told to stop.
pub(crate) fn run(args: SubArgs) -> anyhow::Result<()> {
    if args.since.is_some() && args.topics.len() > 1 {
        anyhow::bail!("--since names a position of one topic");
    }
    super::runtime()?.block_on(async {
        let started = Instant::now();
        // Not to have connected is a failure, whatever else was asked for.
        let client = args.connect.connect(args.timeout).await?;
        let until = async {
            match args.timeout {
                Some(timeout) => tokio::time::sleep(timeout.saturating_sub(started.elapsed())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = follow(&client, &args) => result,
            () = until => match args.count {
                Some(count) => anyhow::bail!("the {count} publications did not come in time"),
                None => Ok(()),
            },
        }
    })
}

async fn follow(client: &Client, args: &SubArgs) -> anyhow::Result<()> {
    let mut events = SelectAll::new();
    for topic in &args.topics {
        let request = client.subscribe(topic.clone()).history(args.history).capacity(EVENTS_WAITING_MAX);
        let request = match args.since {
            Some(position) => request.since(position),
            None => request,
        };
        let subscription = request.await?;
        output::notice(&format!("subscribed to {topic} at {}", subscription.position()));
        let topic = topic.clone();
        events.push(subscription.map(move |event| (topic.clone(), event)));
    }
    let mut left = args.count;
    while left != Some(0) {
        let Some((topic, event)) = events.next().await else { break };
        if let Event::Publication(_) = &event {
            left = left.map(|left| left - 1);
        }
        if output::is_for_people() {
            show(&topic, &event)?
        } else {
            write_json(&topic, &event)?
        }
        if let Event::Closed(reason) = event {
            anyhow::bail!("{topic}: {reason}");
        }
    }
    drop(events);
    client.drain(Duration::from_secs(5)).await?;
    Ok(())
}

/// An event as a line for people.
fn show(topic: &TopicName, event: &Event) -> anyhow::Result<()> {
    match event {
        Event::Publication(publication) => {
            let payload = match publication.text() {
                Some(text) => output::printable(text),
                None => format!("<{} bytes>", publication.payload.as_bytes().len()),
            };
            return output::line(&format!("{topic} {} {payload}", publication.position));
        }
        Event::Gap(gap) => {
            output::notice(&format!(
                "{topic}: missed {}, offsets {} to {}",
                count(gap.missed),
                gap.from,
                gap.to
            ));
        }
        Event::Resubscribed { recovered: true, .. } => {
            output::notice(&format!("{topic}: continued, nothing is missed"));
        }
        Event::Resubscribed { recovered: false, missed, .. } => {
            output::notice(&format!("{topic}: continued, missed {}", count(*missed)));
        }
        _ => {}
    }
    Ok(())
}

fn count(missed: Option<u64>) -> String {
    missed.map_or_else(|| "an unknown number".to_owned(), |missed| missed.to_string())
}

/// An event as a line of JSON: publications and gaps as the protocol writes them.
fn write_json(topic: &TopicName, event: &Event) -> anyhow::Result<()> {
    let line = match event {
        Event::Publication(publication) => message_line(publication)?,
        Event::Gap(gap) => serde_json::json!({
            "type": "gap", "topic": topic.as_str(), "epoch": gap.epoch.as_str(),
            "from": gap.from.get(), "to": gap.to.get(), "missed": gap.missed,
        })
        .to_string(),
        Event::Resubscribed { recovered, position, missed } => serde_json::json!({
            "type": "resubscribed", "topic": topic.as_str(), "epoch": position.epoch.as_str(),
            "offset": position.offset.get(), "recovered": recovered, "missed": missed,
        })
        .to_string(),
        _ => return Ok(()),
    };
    output::line(&line)
}

fn message_line(publication: &Publication) -> anyhow::Result<String> {
    let headers = fanfare_protocol::Headers::new(&publication.headers).map_err(anyhow::Error::msg)?;
    let payload = match (publication.payload.kind(), publication.text()) {
        (PayloadKind::Json, Some(text)) => PayloadRef::json(text).map_err(anyhow::Error::msg)?,
        (_, Some(text)) => PayloadRef::Text(text.into()),
        (_, None) => PayloadRef::Binary(publication.payload.as_bytes().into()),
    };
    let frame = ServerFrame::Message(Message {
        topic: TopicRef::from(&publication.topic),
        offset: publication.position.offset,
        time: publication.time_ms,
        payload,
        message_id: publication.message_id.as_deref().map(Into::into),
        headers: (!publication.headers.is_empty()).then_some(std::borrow::Cow::Borrowed(&headers)),
        from: publication.from.as_deref().map(|user| fanfare_protocol::Author { user: user.into() }),
    });
    let mut line = Vec::new();
    Codec::Json.encode_server(&frame, &mut line);
    // The epoch stands in the line too, so that any line can be continued from.
    let epoch = format!("{{\"epoch\":\"{}\",", publication.position.epoch);
    line.splice(0..1, epoch.into_bytes());
    Ok(String::from_utf8(line)?)
}
