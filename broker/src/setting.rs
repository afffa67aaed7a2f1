//! What is wrong with a setting, as the wing says that owns it. It knows no section.

/// A setting that cannot be used: it is out of range, or does not fit another.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}")]
pub struct InvalidSetting {
    key: String,
    message: String,
}

impl InvalidSetting {
    /// `key` is written as `section.key`.
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}
