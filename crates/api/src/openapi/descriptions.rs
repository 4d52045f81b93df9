//! What types and fields mean, in the published words. The table is compressed; it is inflated for building
//! documents and dropped with them.

use flate2::read::ZlibDecoder;
use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

/// Written by the example `describe`.
static PACKED: &[u8] = include_bytes!("../../schema/descriptions.bin");

/// The inflated table.
pub(super) struct Descriptions {
    text: String,
    /// Where the words behind a type's name are.
    types: HashMap<Box<str>, Range<usize>>,
}

/// The texts of one type.
#[derive(Clone, Copy)]
pub(super) struct TypeTexts<'a> {
    words: &'a str,
}

impl Descriptions {
    pub(super) fn load() -> Self {
        let mut text = String::new();
        ZlibDecoder::new(PACKED).read_to_string(&mut text).expect("the table was packed by the example `describe`");
        Self::index(text)
    }

    fn index(text: String) -> Self {
        let mut types = HashMap::new();
        let mut at = 0;
        // A type's words end with an empty one in the place of a field's name.
        while at < text.len() {
            let name = word(&text[at..]);
            let start = at + name.len() + 1;
            let mut end = start + word(&text[start..]).len() + 1;
            while !word(&text[end..]).is_empty() {
                end += word(&text[end..]).len() + 1;
                end += word(&text[end..]).len() + 1;
            }
            types.insert(name.into(), start..end);
            at = end + 1;
        }
        Descriptions { text, types }
    }

    pub(super) fn of(&self, ty: &str) -> TypeTexts<'_> {
        let range = self.types.get(ty).cloned().unwrap_or(0..0);
        TypeTexts { words: &self.text[range] }
    }
}

impl<'a> TypeTexts<'a> {
    /// Of the type itself; empty where there is none.
    pub(super) fn own(self) -> &'a str {
        word(self.words)
    }

    /// Of a field; empty where there is none.
    pub(super) fn field(self, name: &str) -> &'a str {
        let mut words = self.words.split('\0').skip(1);
        while let (Some(field), Some(text)) = (words.next(), words.next()) {
            if field == name {
                return text;
            }
        }
        ""
    }
}

fn word(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
