//! YAML text: block style, two spaces, keys sorted naturally, long lines folded at 80.

use super::plain::{allowed, is_special, is_taken};
use crate::codec::number::{write_float, write_int};
use crate::value::{Object, Value};
use std::cmp::Ordering;

/// Lines longer than this are folded at the next space.
const WIDTH: usize = 80;

/// Longer keys are marked by `?`.
const LONGEST_KEY: usize = 128;

/// YAML text of a value, keys sorted, as upstream writes it.
pub fn write_yaml(value: &Value) -> String {
    let mut emitter = Emitter::default();
    match value {
        Value::Object(o) if !o.is_empty() => emitter.object(o, 0, true),
        Value::Array(items) if !items.is_empty() => emitter.list(items, 0, true),
        other => emitter.leaf(other, 0),
    }
    emitter.end_line();
    emitter.out
}

#[derive(Default)]
struct Emitter {
    out: String,
    column: usize,
}

/// How a string is written.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Emitter {
    fn push(&mut self, c: char) {
        self.out.push(c);
        self.column = if c == '\n' { 0 } else { self.column + 1 };
    }

    fn text(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn end_line(&mut self) {
        if !self.out.ends_with('\n') {
            self.push('\n');
        }
    }

    fn line(&mut self, indent: usize) {
        if !self.out.is_empty() {
            self.end_line();
        }
        (0..indent).for_each(|_| self.push(' '));
    }

    /// Entries, the first where the line stands if `inline`.
    fn object(&mut self, object: &Object, indent: usize, mut inline: bool) {
        let mut entries: Vec<_> = object.0.iter().collect();
        entries.sort_by(|a, b| natural(&a.0, &b.0));
        for (key, value) in entries {
            if !std::mem::take(&mut inline) {
                self.line(indent);
            }
            self.key(key, indent);
            match &*value.opened() {
                Value::Object(o) if !o.is_empty() => self.object(o, indent + 2, false),
                // Lists stand as far left as their key.
                Value::Array(items) if !items.is_empty() => self.list(items, indent, false),
                other => {
                    self.push(' ');
                    self.leaf(other, indent + 2);
                }
            }
        }
    }

    fn key(&mut self, key: &str, indent: usize) {
        let long = key.len() > LONGEST_KEY || (!key.is_empty() && allowed(key).multiline);
        if long {
            self.text("? ");
            self.string(key, indent + 2, style(key, false), true);
            self.line(indent);
        } else {
            self.string(key, indent + 2, style(key, true), false);
        }
        self.push(':');
    }

    fn list(&mut self, items: &[Value], indent: usize, mut inline: bool) {
        for item in items {
            if !std::mem::take(&mut inline) {
                self.line(indent);
            }
            self.text("- ");
            match &*item.opened() {
                Value::Object(o) if !o.is_empty() => self.object(o, indent + 2, true),
                Value::Array(items) if !items.is_empty() => self.list(items, indent + 2, true),
                other => self.leaf(other, indent + 2),
            }
        }
    }

    fn leaf(&mut self, value: &Value, indent: usize) {
        let mut digits = Vec::new();
        match value {
            Value::Null => self.text("null"),
            Value::Bool(b) => self.text(if *b { "true" } else { "false" }),
            Value::Int(n) => write_int(*n, &mut digits),
            Value::Float(f) => digits = float(*f),
            Value::String(s) => self.string(s, indent, style(s, false), true),
            Value::Array(_) => self.text("[]"),
            Value::Object(_) | Value::Raw(_) => self.text("{}"),
        }
        self.text(&String::from_utf8_lossy(&digits));
    }

    fn string(&mut self, text: &str, indent: usize, style: Style, fold: bool) {
        match style {
            Style::Plain => self.plain(text, indent, fold),
            Style::Single => {
                self.push('\'');
                self.single(text, indent, fold);
                self.push('\'');
            }
            Style::Double => {
                self.push('"');
                self.double(text, indent, fold);
                self.push('"');
            }
            Style::Literal => self.literal(text, indent),
        }
    }

    fn fold(&mut self, indent: usize) {
        self.push('\n');
        (0..indent).for_each(|_| self.push(' '));
    }

    /// Text without breaks.
    fn plain(&mut self, text: &str, indent: usize, fold: bool) {
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let next_space = chars.peek() == Some(&' ');
            if c == ' ' && fold && !after_space && self.column > WIDTH && !next_space {
                self.fold(indent);
            } else {
                self.push(c);
            }
            after_space = c == ' ';
        }
    }

    fn single(&mut self, text: &str, indent: usize, fold: bool) {
        let mut after_space = false;
        let last = text.chars().count().saturating_sub(1);
        let mut chars = text.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            let next_space = chars.peek().is_some_and(|(_, c)| *c == ' ');
            let inside = i > 0 && i < last;
            if c == ' ' && fold && !after_space && self.column > WIDTH && inside && !next_space {
                self.fold(indent);
            } else {
                if c == '\'' {
                    self.push('\'');
                }
                self.push(c);
            }
            after_space = c == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        let mut after_space = false;
        let last = text.chars().count().saturating_sub(1);
        let mut chars = text.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            if is_special(c) {
                self.text(&escape(c));
                after_space = false;
            } else if c == ' ' && fold && !after_space && self.column > WIDTH && i > 0 && i < last {
                self.fold(indent);
                if chars.peek().is_some_and(|(_, c)| *c == ' ') {
                    self.push('\\');
                }
                after_space = true;
            } else {
                self.push(c);
                after_space = c == ' ';
            }
        }
    }

    /// Lines as they are, behind `|`.
    fn literal(&mut self, text: &str, indent: usize) {
        self.push('|');
        if text.starts_with([' ', '\n']) {
            self.push('2');
        }
        match text.strip_suffix('\n') {
            None => self.push('-'),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.push('+'),
            Some(_) => {}
        }
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.push('\n');
            if !line.is_empty() {
                (0..indent).for_each(|_| self.push(' '));
                self.text(line);
            }
        }
        if text.ends_with('\n') {
            self.push('\n');
        }
    }
}

fn style(text: &str, key: bool) -> Style {
    if text.is_empty() {
        return Style::Double;
    }
    let allowed = allowed(text);
    if text.contains('\n') {
        return if allowed.literal && !key { Style::Literal } else { Style::Double };
    }
    match (is_taken(text), allowed.plain, allowed.single_quoted) {
        (true, _, _) | (false, false, false) => Style::Double,
        (false, true, _) => Style::Plain,
        (false, false, true) => Style::Single,
    }
}

fn escape(c: char) -> String {
    match c {
        '\0' => "\\0".into(),
        '\u{7}' => "\\a".into(),
        '\u{8}' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\u{b}' => "\\v".into(),
        '\u{c}' => "\\f".into(),
        '\r' => "\\r".into(),
        '\u{1b}' => "\\e".into(),
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\u{85}' => "\\N".into(),
        '\u{a0}' => "\\_".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        c if u32::from(c) <= 0xff => format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) <= 0xffff => format!("\\u{:04X}", u32::from(c)),
        c => format!("\\U{:08X}", u32::from(c)),
    }
}

/// Whole numbers as integers, others as Go's `%g`.
fn float(f: f64) -> Vec<u8> {
    let mut digits = vec![];
    let exponent = if f == 0.0 { 0.0 } else { f.abs().log10().floor() };
    if f.fract() == 0.0 && exponent < 19.0 || (-4.0..21.0).contains(&exponent) {
        write_float(f, &mut digits);
        return digits;
    }
    let text = format!("{f:e}");
    let (mantissa, exponent) = text.split_once('e').expect("asked for an exponent");
    let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
    format!("{mantissa}e{sign}{size:0>2}").into_bytes()
}

/// Letters behind other characters, numbers by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(i) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    match (a[i].is_alphabetic(), b[i].is_alphabetic()) {
        (true, true) => return a[i].cmp(&b[i]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Behind a digit that is not zero, a zero is part of a number.
    let mut start = 0u64;
    if a[i] == '0' || b[i] == '0' {
        let before = a[..i].iter().rev().take_while(|c| c.is_ascii_digit());
        start = u64::from(before.into_iter().any(|c| *c != '0'));
    }
    let number = |text: &[char]| {
        let digits = text[i..].iter().take_while(|c| c.is_ascii_digit());
        let count = digits.clone().count();
        let value = digits.fold(start, |n, c| n.wrapping_mul(10).wrapping_add(u64::from(*c) - u64::from('0')));
        (value, count)
    };
    number(&a).cmp(&number(&b)).then(a[i].cmp(&b[i]))
}
