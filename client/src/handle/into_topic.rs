//! What names a topic.

use fanfare_protocol::{InvalidTopic, TopicName};

use crate::error::Error;

pub(crate) fn checked(topic: impl IntoTopic) -> Result<TopicName, Error> {
    topic.into_topic().map_err(|e| Error::invalid("the topic", e))
}

/// What names a topic: a text that is checked, or a [`TopicName`] that was.
///
/// Whoever publishes often to one topic saves the check with a `TopicName`.
pub trait IntoTopic: private::Sealed {
    /// The checked name.
    ///
    /// # Errors
    /// Says which rule the text broke.
    fn into_topic(self) -> Result<TopicName, InvalidTopic>;
}

impl IntoTopic for &str {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        self.parse()
    }
}

impl IntoTopic for &&str {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        self.parse()
    }
}

impl IntoTopic for &String {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        self.parse()
    }
}

impl IntoTopic for String {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        self.parse()
    }
}

impl IntoTopic for &TopicName {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        Ok(self.clone())
    }
}

impl IntoTopic for TopicName {
    fn into_topic(self) -> Result<TopicName, InvalidTopic> {
        Ok(self)
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for &&str {}
    impl Sealed for &String {}
    impl Sealed for String {}
    impl Sealed for &super::TopicName {}
    impl Sealed for super::TopicName {}
}
