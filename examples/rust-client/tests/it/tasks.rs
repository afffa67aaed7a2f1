//! The examples against a broker.

use std::path::Path;
use std::time::Duration;

use fanfare::config::{AccessConfig, TokenConfig};
use fanfare::{Broker, Config};
use fanfare_client::{Client, CloseReason, ConnectionState, Error, Event, Payload, Position};
use rust_client_examples::Order;
use rust_client_examples::connecting::{
    connect, connect_at_once, connect_through, connect_trusting, connect_with_fresh_tokens, fetch_token,
};
use rust_client_examples::publishing::{publish, publish_many, publish_until_stored};
use rust_client_examples::running::{follow_state, losses, stop};
use rust_client_examples::subscribing::{
    go_on, missed, newest, newest_price, read, read_from_the_past, read_rooms,
};
use tokio::time::timeout;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("soon")
}

fn url(broker: &Broker) -> String {
    format!("ws://{}", broker.public_addr())
}

async fn started() -> (Broker, Client) {
    let broker = Broker::start(Config::for_tests()).await.expect("a broker");
    let client = soon(Client::connect(&url(&broker))).await.expect("connected");
    (broker, client)
}

fn order(id: u64) -> Order {
    Order { id: id.to_string(), amount: 100 * id }
}

/// Publishes orders until `is_enough`.
async fn publish_while(client: &Client, is_enough: impl Fn() -> bool) {
    for id in 1.. {
        if is_enough() {
            return;
        }
        soon(publish(client, &order(id))).await.expect("stored");
    }
}

#[tokio::test]
async fn credentials_are_shown_and_may_come_from_a_source() {
    let token = soon(fetch_token()).await.expect("a token");
    let mut config = Config::for_tests();
    let bearer = TokenConfig { user: "orders".to_owned(), token: Some(token.clone()), ..Default::default() };
    config.access = Some(AccessConfig { token: vec![bearer], ..Default::default() });
    let broker = Broker::start(config).await.expect("a broker");
    for client in [connect(&url(&broker), &token).await, connect_with_fresh_tokens(&url(&broker)).await] {
        let ConnectionState::Connected(info) = client.expect("connected").state() else {
            panic!("connected")
        };
        assert_eq!(info.user.as_deref(), Some("orders"));
    }
    let error = soon(connect(&url(&broker), "another-token-of-an-hour")).await.expect_err("refused");
    assert!(matches!(error, Error::Closed { reason: CloseReason::Unauthorized(_), .. }), "{error:?}");
}

#[tokio::test]
async fn where_nobody_is_the_first_try_may_be_the_last() {
    let (broker, _) = started().await;
    let url = url(&broker);
    broker.stop().await;
    let error = soon(connect_at_once(&url)).await.expect_err("nobody is there");
    assert!(matches!(error, Error::NotConnected(_)), "{error:?}");
}

#[tokio::test]
async fn an_authority_and_a_proxy_are_looked_at_before_anything_is_tried() {
    let error = soon(connect_trusting("wss://127.0.0.1:1", Path::new("no such file"))).await;
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    let error = soon(connect_through("wss://127.0.0.1:1", "no URL")).await;
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
}

#[tokio::test]
async fn what_is_published_is_stored_once_and_can_be_read_later() {
    let (_broker, client) = started().await;
    let first = soon(publish(&client, &order(1))).await.expect("stored");
    soon(publish_many(&client, &[order(2), order(3)])).await.expect("stored");
    let stored = soon(publish_until_stored(&client, &order(4))).await.expect("stored");
    let again = soon(publish_until_stored(&client, &order(4))).await.expect("stored");
    assert!(!stored.duplicate && again.duplicate);
    assert_eq!((first.offset.get(), again.position), (1, stored.position));
    let read = soon(newest(&client)).await.expect("history");
    let read = read.iter().map(|publication| publication.json().expect("an order")).collect::<Vec<Order>>();
    assert_eq!(read, [order(1), order(2), order(3), order(4)]);
    let mut orders = soon(read_from_the_past(&client)).await.expect("subscribed");
    for id in 1..=4 {
        let Some(Event::Publication(publication)) = soon(orders.next()).await else {
            panic!("a publication")
        };
        assert_eq!(publication.json::<Order>().expect("an order"), order(id));
    }
    assert_eq!(losses(&client), (0, 0));
}

#[tokio::test]
async fn a_reader_reads_until_its_client_stops() {
    let (_broker, client) = started().await;
    let count = std::cell::Cell::new(0_u64);
    let enough = || count.get() >= 3;
    let publishing = async {
        publish_while(&client, enough).await;
        soon(stop(&client)).await.expect("settled");
    };
    let (read, ()) = tokio::join!(read(&client, |_| count.set(count.get() + 1)), publishing);
    read.expect("to the end");
    let mut states = Vec::new();
    soon(follow_state(&client, |state| states.push(state))).await;
    assert_eq!(states, [ConnectionState::Closed(CloseReason::Drained)]);
}

#[tokio::test]
async fn whoever_stored_a_position_goes_on_after_it() {
    let (broker, client) = started().await;
    let first = soon(publish(&client, &order(1))).await.expect("stored");
    soon(publish(&client, &order(2))).await.expect("stored");
    // As it stands in a file.
    let stored = first.to_string().parse::<Position>().expect("a position");
    let (mut events, mut positions) = (Vec::new(), Vec::new());
    let ending = async {
        while client.statistics().received == 0 {
            tokio::task::yield_now().await;
        }
        client.close().await;
    };
    let reading =
        go_on(&client, Some(stored), |event| events.push(event), |position| positions.push(position));
    let (read, ()) = soon(async { tokio::join!(reading, ending) }).await;
    read.expect("to the end");
    let [Event::Resubscribed { recovered: true, .. }, Event::Publication(second), Event::Closed(_)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(positions, [first, first, second.position, second.position]);
    assert!(events.iter().all(|event| missed(event) == Some(0)));

    // After a restart the broker has forgotten everything.
    broker.stop().await;
    let (_broker, client) = started().await;
    let mut orders = soon(client.subscribe("orders").since(stored).into_future()).await.expect("subscribed");
    let event = soon(orders.next()).await.expect("an event");
    assert_eq!(missed(&event), None, "{event:?}");
}

#[tokio::test]
async fn rooms_are_read_as_one() {
    let (_broker, client) = started().await;
    let rooms = ["room:1".to_owned(), "room:2".to_owned()];
    for room in &rooms {
        soon(client.publish(room, Payload::text("hello")).into_future()).await.expect("stored");
    }
    let heard = std::cell::RefCell::new(Vec::new());
    let ending = async {
        while heard.borrow().len() < 2 {
            tokio::task::yield_now().await;
        }
        client.close().await;
    };
    let reading = read_rooms(&client, &rooms, |room, _| heard.borrow_mut().push(room.to_string()));
    let (read, ()) = soon(async { tokio::join!(reading, ending) }).await;
    read.expect("to the end");
    let mut heard = heard.into_inner();
    heard.sort();
    assert_eq!(heard, rooms);
}

#[tokio::test]
async fn whoever_wants_the_newest_price_alone_is_told_what_it_skipped() {
    let (_broker, client) = started().await;
    let mut price = soon(newest_price(&client)).await.expect("subscribed");
    for cents in 1..=10 {
        soon(client.publish_json("price:tea", &cents).into_future()).await.expect("stored");
    }
    let all_received = async {
        while client.statistics().received < 10 {
            tokio::task::yield_now().await;
        }
    };
    soon(all_received).await;
    let skipped = soon(price.next()).await.expect("an event");
    assert_eq!(missed(&skipped), Some(9), "{skipped:?}");
    let Some(Event::Publication(publication)) = soon(price.next()).await else { panic!("a publication") };
    assert_eq!(publication.json::<u64>().expect("a number"), 10);
    assert_eq!(losses(&client), (0, 9));
}
