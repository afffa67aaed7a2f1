//! Publishing by WebSocket, in any dialect that confirms publications.

use super::Flow;
use crate::load::connection::Connection;
use crate::target::Event;
use crate::wire::socket::{Buffer, ConnectionEnd};

/// Publishes on `connection` until it is time to end and all is answered.
pub(crate) async fn publish(
    flow: &mut Flow<'_>,
    connection: Connection,
    buffer: &Buffer,
) -> anyhow::Result<()> {
    let Connection { mut reader, writer, mut talk } = connection;
    let worker = flow.worker;
    while !flow.is_done() {
        while flow.has_capacity() {
            let confirm = Some(flow.sent + 1);
            let (topic, payload) = flow.next();
            talk.dialect.publish(&worker.plan.topics[topic as usize], payload, confirm, &mut talk.out);
        }
        let written = writer.try_write(talk.out.bytes())?;
        talk.out.written(written);
        let all_written = talk.out.is_empty();
        tokio::select! {
            read = reader.read(buffer, |now, incoming| {
                talk.take(incoming, |event| take(flow, now, event))
            }) => read?,
            writable = writer.writable(), if !all_written => writable?,
        }
    }
    Ok(())
}

fn take(flow: &mut Flow<'_>, now: u64, event: Event) -> Result<(), ConnectionEnd> {
    match event {
        Event::Published(n) => flow.acknowledged_to(n, now),
        Event::Error { id: Some(n), why } => {
            flow.acknowledged_to(n.saturating_sub(1), now);
            flow.refused(&why);
        }
        Event::Error { id: None, why } => return Err(ConnectionEnd::Refused(why)),
        _ => flow.acks.troubles.count("publisher got what it did not ask for"),
    }
    Ok(())
}
