//! Which strings can stand without quotes: those that a YAML 1.1 reader takes for strings, and whose characters don't
//! mean something else.

use regex::Regex;
use std::sync::LazyLock;

/// Words that stand for booleans, null and odd floats.
const WORDS: [&str; 37] = [
    "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO", "false",
    "False", "FALSE", "off", "Off", "OFF", "", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN", ".inf", ".Inf",
    ".INF", "+.inf", "+.Inf", "-.inf", "-.Inf",
];

static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let int = r"[-+]?0[xX][0-9a-fA-F]+|[-+]?0[oO][0-7]+|[-+]?0[bB][01]+";
    let float = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?";
    Regex::new(&format!("^(?:{int}|{float})$")).expect("a constant pattern")
});

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let date = r"[0-9]{4}-(0?[1-9]|1[0-2])-(0?[1-9]|[12][0-9]|3[01])";
    let clock = r"([01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](\.[0-9]+)?";
    Regex::new(&format!("^{date}([Tt]{clock}(Z|[-+][0-9]{{2}}:[0-9]{{2}})| {clock})?$")).expect("a constant pattern")
});

static BASE_60: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$").expect("a constant pattern"));

/// Whether a reader would take the bare text for something else than a string.
pub(super) fn is_taken(text: &str) -> bool {
    if WORDS.contains(&text) || matches!(text, "+.INF" | "-.INF") {
        return true;
    }
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' => {
            TIME.is_match(text) || NUMBER.is_match(&text.replace('_', "")) || BASE_60.is_match(text)
        }
        b'.' => NUMBER.is_match(text),
        _ => false,
    }
}

/// The styles that a text's characters allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) plain: bool,
    pub(super) single_quoted: bool,
    pub(super) literal: bool,
    pub(super) multiline: bool,
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What can be shown as it is; the emitter counts characters beyond the basic plane out.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// What must be escaped between double quotes.
pub(super) fn is_special(c: char) -> bool {
    !is_printable(c) || is_break(c) || matches!(c, '"' | '\\')
}

/// Looks at all characters of a text that is not empty.
pub(super) fn allowed(text: &str) -> Allowed {
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut breaks, mut special, mut space_break, mut break_space) = (false, false, false, false);
    let (mut after_space, mut after_break, mut after_white) = (false, false, true);
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let before_white = chars.peek().is_none_or(|next| is_blank(*next) || is_break(*next));
        indicators |= match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if first => {
                true
            }
            '?' | '-' if first => before_white,
            ':' => before_white,
            '#' => after_white,
            _ => false,
        };
        special |= !is_printable(c);
        break_space |= c == ' ' && after_break;
        space_break |= is_break(c) && after_space;
        breaks |= is_break(c);
        (after_space, after_break) = (c == ' ', is_break(c));
        after_white = is_blank(c) || is_break(c);
        first = false;
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
    let edges = edge(text.chars().next()) || edge(text.chars().next_back());
    Allowed {
        plain: !(indicators || breaks || special || space_break || break_space || edges),
        single_quoted: !(break_space || space_break || special),
        literal: !(text.ends_with(' ') || space_break || special),
        multiline: breaks,
    }
}
