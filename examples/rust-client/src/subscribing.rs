//! Reading: what comes, what came before, where it was left, and what was missed.

use fanfare_client::{Client, Error, Event, OnLag, Position, Publication, Subscription, TopicName};

use crate::Order;

/// Reads what is published from now on.
pub async fn read(client: &Client, mut handle: impl FnMut(Order)) -> Result<(), Error> {
    let mut orders = client.subscribe("orders").await?;
    while let Some(event) = orders.next().await {
        if let Event::Publication(publication) = event {
            handle(publication.json()?);
        }
    }
    Ok(())
}

/// The newest hundred, then what follows.
pub async fn read_from_the_past(client: &Client) -> Result<Subscription, Error> {
    client.subscribe("orders").history(100).await
}

/// The newest hundred, and nothing else.
pub async fn newest(client: &Client) -> Result<Vec<Publication>, Error> {
    let history = client.history("orders").limit(100).await?;
    Ok(history.publications)
}

/// Goes on after a stored position, and tells which to store.
pub async fn go_on(
    client: &Client,
    stored: Option<Position>,
    mut handle: impl FnMut(Event),
    mut store: impl FnMut(Position),
) -> Result<(), Error> {
    let request = client.subscribe("orders");
    let mut orders = match stored {
        Some(position) => request.since(position).await?,
        None => request.await?,
    };
    store(orders.position());
    while let Some(event) = orders.next().await {
        handle(event);
        store(orders.position());
    }
    Ok(())
}

/// Reads many topics as one stream.
pub async fn read_rooms(
    client: &Client,
    rooms: &[String],
    mut handle: impl FnMut(TopicName, Publication),
) -> Result<(), Error> {
    let mut all = client.subscribe_many(rooms).history(10).await?;
    while let Some((room, event)) = all.next().await {
        if let Event::Publication(publication) = event {
            handle(room, publication);
        }
    }
    Ok(())
}

/// How many publications the event says are missing; `None` where they cannot be counted.
pub fn missed(event: &Event) -> Option<u64> {
    match event {
        Event::Gap(gap) => gap.missed,
        Event::Resubscribed { recovered: false, missed, .. } => *missed,
        _ => Some(0),
    }
}

/// Whoever shows a price needs the newest one alone.
pub async fn newest_price(client: &Client) -> Result<Subscription, Error> {
    client.subscribe("price:tea").on_lag(OnLag::Latest).capacity(1).await
}
