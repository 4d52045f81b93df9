//! Text, borrowed from an object or made by the expression.

use std::sync::Arc;

/// A string.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// In an object.
    Ref(&'a str),
    /// In the program, or made on the way.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Ref(s) => s,
            Text::Shared(s) => s,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(s: String) -> Self {
        Text::Shared(s.into())
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}
