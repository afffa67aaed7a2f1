//! Listing topics: those of which somebody may be told, a page at a time.

use fanfare_protocol::{Position, TopicName};

use crate::access::Grant;
use crate::hub::Hub;
use crate::pattern::Names;

/// What one page holds, if the request does not say how much.
const PAGE_DEFAULT: usize = 100;
/// What one page holds, whatever the request says.
const PAGE_MAX: usize = 1000;
/// Topics that are looked at before the worker's other connections have their turn.
const TURN: usize = 256;

/// How much a page holds for which so much was asked.
pub(crate) fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}

/// A leave to be told of the topics with some names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// Invariant: in order, and none covers another.
    names: Vec<Names>,
}

/// Asks the grant for a leave to be told of topics whose names begin with `prefix`: of those that may be subscribed to,
/// which may be none. What may not be told of is not looked for either.
pub(crate) fn leave(grant: &Grant, prefix: &str) -> Leave {
    Leave { names: grant.names(prefix) }
}

/// A topic of a listing, as it was when its page was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicInfo {
    pub(crate) name: TopicName,
    pub(crate) position: Position,
    pub(crate) subscriptions: usize,
}

/// Some topics, in the order of their names.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) topics: Vec<TopicInfo>,
    /// The name after which the next page begins; `None` after the last one.
    pub(crate) cursor: Option<TopicName>,
}

impl Leave {
    /// The topics that come `after` that name: at most `limit`, and at most as many as a page holds. Of a topic
    /// whose position is not known yet nothing is told, and nobody is asked for it: a listing is of what is here. It costs
    /// what it gives, and lets others have their turn.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub(crate) async fn page(&self, hub: &Hub, after: Option<&str>, limit: Option<usize>) -> Page {
        let limit = page_size(limit);
        let found = hub.table.list(&self.names, after, limit).await;
        let mut topics = Vec::with_capacity(found.topics.len());
        for some in found.topics.chunks(TURN) {
            let known = some.iter().filter(|topic| hub.engine().knows(topic));
            topics.extend(known.map(|topic| TopicInfo {
                name: topic.name.clone(),
                position: topic.position(),
                subscriptions: topic.subscriptions(),
            }));
            tokio::task::yield_now().await;
        }
        Page { topics, cursor: found.cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::worker::tests::{subscribe, worker};

    fn names(page: &Page) -> Vec<&str> {
        page.topics.iter().map(|topic| topic.name.as_str()).collect()
    }

    #[tokio::test]
    async fn only_topics_that_may_be_subscribed_to_are_told_of() {
        let config = "[anonymous]\nsubscribe = [\"news\", \"room:*\"]\npublish = [\"*\"]";
        let access = Access::new(Some(&toml::from_str(config).expect("well-formed")), &Default::default())
            .expect("good");
        let grant = access.grant(None).expect("anybody");
        let worker = worker();
        for name in ["news", "newsroom", "room:1", "room:2", "secret"] {
            subscribe(&worker, name);
        }
        for (prefix, expected) in [
            ("", &["news", "room:1", "room:2"][..]),
            ("news", &["news"]),
            ("room:2", &["room:2"]),
            ("secret", &[]),
        ] {
            let page = leave(&grant, prefix).page(&worker.hub, None, None).await;
            assert_eq!(names(&page), expected, "{prefix:?}");
            assert!(page.cursor.is_none());
            assert!(page.topics.iter().all(|topic| topic.subscriptions == 1));
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_and_none_is_larger_than_a_page_may_be() {
        let worker = worker();
        let grant = worker.hub.access().grant(None).expect("anybody");
        let all: Vec<_> = (0..50).map(|nth| format!("t{nth:02}")).collect();
        for name in &all {
            subscribe(&worker, name);
        }
        let (leave, mut seen, mut after) = (leave(&grant, "t"), Vec::new(), None);
        loop {
            let after_name = after.as_ref().map(TopicName::as_str);
            let page = leave.page(&worker.hub, after_name, Some(0)).await;
            assert!(page.topics.len() <= 1, "no page may be empty, so the least is one");
            seen.extend(page.topics.into_iter().map(|topic| topic.name.to_string()));
            after = page.cursor;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        let page = leave.page(&worker.hub, None, Some(usize::MAX)).await;
        assert_eq!(names(&page), all);
    }
}
