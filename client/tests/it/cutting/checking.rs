//! What would be wrong is found to be wrong: with what a broker really said, and something done to it.

use fanfare::{Broker, Config};
use fanfare_client::{Client, Event, Gap, Offset, Position, Publication, Subscription};

use super::account::Account;
use super::record::{Ack, Found, Record, Word};
use crate::peer::soon;

const PUBLISHER: u32 = 7;

/// Six words as they were delivered, their acks, and some gap.
async fn said() -> (Position, Vec<Publication>, Vec<Ack>, Gap) {
    let broker = Broker::start(Config::for_tests()).await.expect("a broker");
    let client = Client::connect(&format!("ws://{}", broker.public_addr())).await.expect("connected");
    let mut subscription = soon(client.subscribe("t").into_future()).await.expect("subscribed");
    let (begin, mut publications, mut acks) = (subscription.position(), Vec::new(), Vec::new());
    for number in 0..6 {
        let word = Word { publisher: PUBLISHER, number };
        let published = soon(client.publish("t", word.payload()).into_future()).await.expect("acknowledged");
        let Some(Event::Publication(publication)) = soon(subscription.next()).await else {
            panic!("a publication")
        };
        let message_id = publication.message_id.clone().expect("each has one");
        acks.push(Ack { word, message_id, published });
        publications.push(publication);
    }
    let slow = soon(client.subscribe("t").capacity(1).into_future()).await.expect("subscribed");
    (begin, publications, acks, some_gap(client, slow).await)
}

async fn some_gap(client: Client, mut slow: Subscription) -> Gap {
    loop {
        for number in 0..5 {
            let word = Word { publisher: PUBLISHER + 1, number };
            soon(client.publish("t", word.payload()).into_future()).await.expect("acknowledged");
        }
        if let Some(Event::Gap(gap)) = soon(slow.next()).await {
            return gap;
        }
    }
}

/// What an account that begins there says to these events.
fn verdict(mut account: Account, events: impl IntoIterator<Item = Event>) -> Result<Account, String> {
    events.into_iter().try_for_each(|event| account.hear(&event).map(drop))?;
    Ok(account)
}

#[tokio::test]
async fn an_account_that_is_not_whole_and_in_order_is_refused() {
    let (begin, publications, _, some_gap) = said().await;
    let word = |n: usize| Event::Publication(publications[n - 1].clone());
    let at = |offset: usize| publications[offset - 1].position;
    let gap = |from, to, missed| {
        let mut gap = some_gap;
        (gap.epoch, gap.from, gap.to, gap.missed) = (begin.epoch, at(from).offset, at(to).offset, missed);
        Event::Gap(gap)
    };
    let resubscribed = |recovered, position, missed| Event::Resubscribed { recovered, position, missed };
    let account = || Account::new("somebody", begin);

    let good = [word(1), resubscribed(true, at(3), Some(0)), word(2), word(3), gap(4, 5, Some(2)), word(6)];
    assert_eq!(verdict(account(), good).expect("it is good").missed, 2);
    let good = [word(1), resubscribed(false, at(5), Some(4)), word(6)];
    assert_eq!(verdict(account(), good).expect("it is good").missed, 4);
    verdict(account().of_a_slow_reader(), [resubscribed(true, at(3), Some(0)), gap(1, 2, Some(2))])
        .expect("who is slow may lose that");

    let mut elsewhere = publications[1].clone();
    elsewhere.position.epoch = "another".parse().expect("an epoch");
    let anew = |missed| resubscribed(false, elsewhere.position, missed);
    verdict(account(), [word(1), anew(None)]).expect("it is good");
    for (events, complaint) in [
        (vec![word(1), word(3)], "nothing was said of 2..3"),
        (vec![word(1), word(1)], "twice, or out of order"),
        (vec![word(1), gap(2, 3, Some(2)), word(3)], "twice, or out of order"),
        (vec![word(1), Event::Publication(elsewhere.clone())], "an epoch of which nothing was said"),
        (vec![word(1), gap(2, 4, Some(2))], "it does not add up"),
        (vec![word(1), gap(3, 4, Some(2))], "nothing was said of 2..3"),
        (vec![word(1), word(2), gap(2, 3, Some(2))], "that is not missing"),
        (vec![resubscribed(true, at(3), Some(0)), word(1), gap(2, 2, Some(1))], "that had been recovered"),
        (vec![word(1), resubscribed(true, begin, Some(0))], "that is no recovery"),
        (vec![word(1), resubscribed(false, at(3), Some(1))], "it does not add up"),
        (vec![word(1), resubscribed(false, at(3), None)], "counted within an epoch"),
        (vec![word(1), anew(Some(1))], "counted within an epoch"),
    ] {
        let wrong = verdict(account(), events).expect_err(complaint);
        assert!(wrong.contains(complaint), "{wrong}");
    }
    let wrong = verdict(account().without(PUBLISHER), [word(1)]).expect_err("it is its own");
    assert!(wrong.starts_with("its own"), "{wrong}");
}

#[tokio::test]
async fn a_record_in_which_something_is_lost_or_doubled_is_refused() {
    let (begin, publications, acks, _) = said().await;
    let acks: Vec<_> = acks.iter().collect();
    let record = |publications: &[Publication]| {
        let mut record = Record::default();
        for publication in publications {
            record.add(Found::new(publication)?)?;
        }
        record.check_order()?;
        record.check_acks(&acks, begin.epoch)?;
        Ok::<_, String>(record)
    };
    let whole = record(&publications).expect("it is good");

    let mut twice = publications[0].clone();
    twice.position.offset = Offset::new(7);
    let mut disordered = publications.clone();
    (disordered[2].position, disordered[3].position) = (disordered[3].position, disordered[2].position);
    let mut unknown = publications[5].clone();
    unknown.position.offset = Offset::new(7);
    (unknown.message_id, unknown.payload) =
        (Some("x".to_owned()), Word { publisher: PUBLISHER, number: 9 }.payload());
    let mut other = publications[5].clone();
    other.message_id = Some("x".to_owned());
    for (publications, complaint) in [
        (publications[1..].to_vec(), "but there stands None"),
        ([&publications[..], &[twice]].concat(), "in disorder, or twice"),
        (disordered, "in disorder, or twice"),
        ([&publications[..], &[unknown]].concat(), "without an ack"),
        ([&publications[..], &[other]].concat(), "one place, two tales"),
    ] {
        let wrong = record(&publications).err().expect(complaint);
        assert!(wrong.contains(complaint), "{wrong}");
    }

    // Who is not given its own words is given all others.
    let passing = [0, 5].map(|n: usize| Event::Publication(publications[n].clone()));
    let account = verdict(Account::new("somebody", begin).without(PUBLISHER + 1), passing);
    let wrong = account.and_then(|account| account.check_passed_over(&whole, begin.epoch));
    assert!(wrong.expect_err("these were not its own").starts_with("nothing was said of"));
}
