//! Sets of completion indexes, written as `1,3-5,7`.

use std::collections::BTreeSet;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    all: BTreeSet<i32>,
}

impl Indexes {
    /// Reads the written form; what is malformed, or not below `completions`, is left out.
    pub(super) fn parse(text: &str, completions: i32) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                all.extend(first..=last.min(completions - 1));
            }
        }
        Indexes { all }
    }

    pub(super) fn has(&self, index: i32) -> bool {
        self.all.contains(&index)
    }

    pub(super) fn len(&self) -> i32 {
        self.all.len() as i32
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn common(&self, other: &Self) -> i32 {
        self.all.intersection(&other.all).count() as i32
    }
}

impl Extend<i32> for Indexes {
    fn extend<I: IntoIterator<Item = i32>>(&mut self, indexes: I) {
        self.all.extend(indexes);
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.all.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                1 => write!(f, "{separator}{first},{last}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_and_written() {
        let mut indexes = Indexes::parse("1,3-5,x,7,12", 10);
        assert_eq!((indexes.to_string().as_str(), indexes.len()), ("1,3-5,7", 5));
        indexes.extend([6, 2, 9]);
        assert_eq!(indexes.to_string(), "1-7,9");
        assert_eq!(Indexes::parse("0,1,4", 10).to_string(), "0,1,4");
    }
}
