//! How the tests of a program may look that uses the client.

use fanfare::{Broker, Config};
use fanfare_client::{Client, Event};
use rust_client_examples::Order;

#[tokio::test]
async fn an_order_is_read_as_it_was_published() {
    let broker = Broker::start(Config::for_tests()).await.expect("a broker");
    let url = format!("ws://{}", broker.public_addr());
    let client = Client::connect(&url).await.expect("connected");
    let mut orders = client.subscribe("orders").await.expect("subscribed");
    let order = Order { id: "1".to_owned(), amount: 250 };
    client.publish_json("orders", &order).await.expect("stored");
    let Some(Event::Publication(publication)) = orders.next().await else { panic!("a publication") };
    assert_eq!(publication.json::<Order>().expect("an order"), order);
    broker.stop().await;
}
