//! Unified diffs of objects, as messages about what may not change show them.

use kaji_api::Value;
use std::fmt::Write as _;

const CONTEXT: usize = 3;

/// What differs between two values, as a unified diff of their indented JSON.
pub(crate) fn diff(old: &Value, new: &Value) -> String {
    let (old, new) = (pretty(old), pretty(new));
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    unified(&a, &b)
}

fn pretty(v: &Value) -> String {
    let mut out = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b" "));
    serde::Serialize::serialize(v, &mut writer).expect("a value serialises to memory");
    String::from_utf8(out).expect("JSON is text")
}

#[derive(Clone, Copy, PartialEq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The edit script: common ends apart, by the longest common subsequence of the middle.
fn edits(a: &[&str], b: &[&str]) -> Vec<Edit> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[head..], &b[head..]);
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - tail], &b[..b.len() - tail]);
    let mut out = vec![Edit::Keep; head];
    // Longer middles than this are no help to a reader: all of the old, then all of the new.
    if a.len() * b.len() > 1 << 22 {
        out.extend(a.iter().map(|_| Edit::Remove).chain(b.iter().map(|_| Edit::Add)));
    } else {
        middle(a, b, &mut out);
    }
    out.extend(std::iter::repeat_n(Edit::Keep, tail));
    out
}

fn middle(a: &[&str], b: &[&str], out: &mut Vec<Edit>) {
    let width = b.len() + 1;
    let mut best = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            best[i * width + j] = if a[i] == b[j] {
                best[(i + 1) * width + j + 1] + 1
            } else {
                best[(i + 1) * width + j].max(best[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(Edit::Keep);
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || best[(i + 1) * width + j] >= best[i * width + j + 1]) {
            out.push(Edit::Remove);
            i += 1;
        } else {
            out.push(Edit::Add);
            j += 1;
        }
    }
}

fn unified(a: &[&str], b: &[&str]) -> String {
    let script = edits(a, b);
    let changed: Vec<usize> = (0..script.len()).filter(|i| script[*i] != Edit::Keep).collect();
    let Some(first) = changed.first() else { return String::new() };
    let mut out = String::new();
    let mut start = first.saturating_sub(CONTEXT);
    for (n, at) in changed.iter().enumerate() {
        let next = changed.get(n + 1);
        if next.is_some_and(|next| next - at <= 2 * CONTEXT + 1) {
            continue;
        }
        let end = (at + CONTEXT + 1).min(script.len());
        hunk(&script, start..end, a, b, &mut out);
        start = next.map_or(0, |next| next - CONTEXT);
    }
    out
}

fn hunk(script: &[Edit], range: std::ops::Range<usize>, a: &[&str], b: &[&str], out: &mut String) {
    let count = |edits: &[Edit], not: Edit| edits.iter().filter(|e| **e != not).count();
    let (mut i, mut j) = (count(&script[..range.start], Edit::Add), count(&script[..range.start], Edit::Remove));
    let edits = &script[range];
    let span = |from: usize, len: usize| match len {
        1 => format!("{}", from + 1),
        0 => format!("{from},0"),
        _ => format!("{},{len}", from + 1),
    };
    let _ = writeln!(out, "@@ -{} +{} @@", span(i, count(edits, Edit::Add)), span(j, count(edits, Edit::Remove)));
    for edit in edits {
        let (sign, line) = match edit {
            Edit::Keep => (' ', a[i]),
            Edit::Remove => ('-', a[i]),
            Edit::Add => ('+', b[j]),
        };
        i += usize::from(*edit != Edit::Add);
        j += usize::from(*edit != Edit::Remove);
        out.push(sign);
        out.push_str(line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn shows_what_changed_with_context() {
        let old = value!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9});
        let mut new = old.clone();
        new.set("i", 10);
        assert_eq!(
            diff(&old, &new),
            "@@ -7,5 +7,5 @@\n  \"f\": 6,\n  \"g\": 7,\n  \"h\": 8,\n- \"i\": 9\n+ \"i\": 10\n }\n"
        );
        assert_eq!(diff(&old, &old), "");
    }
}
