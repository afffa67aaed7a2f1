//! Names of topics that begin alike.

/// Which names somebody may be told of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Names {
    /// The names that begin with this.
    Prefix(String),
    /// The one name.
    Exact(String),
}

impl Names {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Prefix(text) | Self::Exact(text) => text,
        }
    }

    /// Whether every name of the `other` is one of these as well.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        match self {
            Self::Prefix(prefix) => other.text().starts_with(prefix.as_str()),
            Self::Exact(_) => self == other,
        }
    }

    /// The names among these that begin with `prefix`, if there can be any.
    fn within(self, prefix: &str) -> Option<Self> {
        match self {
            names if names.text().starts_with(prefix) => Some(names),
            Self::Prefix(wider) if prefix.starts_with(&wider) => Some(Self::Prefix(prefix.to_owned())),
            Self::Prefix(_) | Self::Exact(_) => None,
        }
    }

    /// The names of `all` that begin with `prefix`, each once and in order: none of them covers another, so a name
    /// of the one comes before every name of the next.
    pub(crate) fn in_order(all: impl Iterator<Item = Self>, prefix: &str) -> Vec<Self> {
        let mut wanted: Vec<_> = all.filter_map(|names| names.within(prefix)).collect();
        wanted.sort_unstable_by(|a, b| a.text().cmp(b.text()).then_with(|| a.cmp(b)));
        // What begins with a text stands right behind it, so what covers a name is the last one that was kept.
        wanted.dedup_by(|later, kept| kept.cover(later));
        wanted
    }
}
