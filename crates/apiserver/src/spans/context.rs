//! What a trace hands on from process to process: the headers `traceparent` and `tracestate`
//! (<https://www.w3.org/TR/trace-context/>, taken as Go's library takes them: `otel/propagation/trace_context.go`).

use aws_lc_rs::rand;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashSet;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// Members of a state; one with more is dropped whole.
const MAX_MEMBERS: usize = 32;
const LAST_VERSION: u8 = 254;

/// A span of a trace as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether it is told to a collector.
    pub(super) sampled: bool,
    /// What others keep beside it, by vendor; checked, may be empty.
    pub(super) state: String,
}

impl Context {
    /// The context that a request came with.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let (trace, span, sampled) = parent(headers.get(PARENT)?.to_str().ok()?)?;
        let state = headers.get(STATE).and_then(|v| v.to_str().ok()).and_then(state).unwrap_or_default();
        Some(Context { trace, span, sampled, state })
    }

    /// The context of a span that has no parent.
    pub(super) fn root(sampled: impl FnOnce(&[u8; 16]) -> bool) -> Self {
        let trace = random();
        Context { sampled: sampled(&trace), trace, span: random(), state: String::new() }
    }

    /// Another span of the same trace.
    pub(super) fn next(&self) -> Self {
        Context { span: random(), ..self.clone() }
    }

    /// The same, for protocols that have other headers than HTTP's.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let state = (!self.state.is_empty()).then(|| ("tracestate", self.state.clone()));
        [("traceparent", self.parent())].into_iter().chain(state).collect()
    }

    fn parent(&self) -> String {
        format!("00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), u8::from(self.sampled))
    }

    /// Says it to whom a request goes on to.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(PARENT, HeaderValue::from_str(&self.parent()).expect("digits and dashes"));
        match HeaderValue::from_str(&self.state) {
            Ok(value) if !self.state.is_empty() => drop(headers.insert(STATE, value)),
            _ => {}
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random numbers are there");
    bytes
}

/// Lower-case digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |out, byte| out + &format!("{byte:02x}"))
}

/// Trace, span, and whether it is sampled.
fn parent(text: &str) -> Option<([u8; 16], [u8; 8], bool)> {
    let mut rest = text;
    let mut part = || {
        let (part, behind) = rest.split_once('-').unwrap_or((rest, ""));
        rest = behind;
        part
    };
    let [version] = digits::<1>(part())?;
    let (trace, span, [flags]) = (digits::<16>(part())?, digits::<8>(part())?, digits::<1>(part())?);
    // Later versions may say more, and set other flags.
    let valid = version <= LAST_VERSION && (version > 0 || (rest.is_empty() && flags <= 2));
    (valid && trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags & 1 == 1))
}

/// So many bytes as lower-case digits, and nothing else.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A state as it goes on; none: it says nothing, or is no state.
fn state(text: &str) -> Option<String> {
    let mut keys = HashSet::new();
    let mut kept = Vec::new();
    for member in text.split(',').filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        let (key, value) = (key.trim_start_matches([' ', '\t']), value.trim_end_matches([' ', '\t']));
        if !is_key(key) || !is_value(value) || !keys.insert(key) || keys.len() > MAX_MEMBERS {
            return None;
        }
        kept.push(format!("{key}={value}"));
    }
    Some(kept.join(","))
}

fn is_key(key: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase();
    let either = |b: u8| letter(b) || b.is_ascii_digit();
    let part = |part: &str, first: &dyn Fn(u8) -> bool, longest: usize| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(first)
            && part.len() <= longest
            && bytes.all(|b| either(b) || matches!(b, b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        None => part(key, &letter, 256),
        Some((tenant, system)) => part(tenant, &either, 241) && part(system, &letter, 14),
    }
}

fn is_value(value: &str) -> bool {
    let plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'=');
    (1..=256).contains(&value.len()) && value.bytes().all(plain) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn of(parent: &str, state: &str) -> Option<Context> {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, parent.parse().unwrap());
        headers.insert(STATE, state.parse().unwrap());
        Context::of(&headers)
    }

    #[test]
    fn parents_are_taken_as_go_takes_them() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-02"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-01-"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-03"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("01-{TRACE}-{SPAN}-09-more"), Some(true)),
            (format!("fe-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("0-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}x-{SPAN}-01"), None),
            (String::new(), None),
        ] {
            assert_eq!(of(&text, "").map(|c| c.sampled), sampled, "{text}");
        }
    }

    #[test]
    fn states_go_on_whole_or_not_at_all() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        for (text, expected) in [
            ("", ""),
            ("a=1, b=2 ,", "a=1,b=2"),
            ("1tenant@system=x y", "1tenant@system=x y"),
            ("1a=1", ""),
            ("a=1,a=2", ""),
            ("a=1,b", ""),
            ("A=1", ""),
            ("a=", ""),
            ("a=x=y", ""),
            (&many(32), &many(32)),
            (&many(33), ""),
        ] {
            assert_eq!(of(&parent, text).map(|c| c.state).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_comes_in_goes_out() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let context = of(&parent, "a=1,b=2").unwrap();
        let mut headers = HeaderMap::new();
        context.inject(&mut headers);
        assert_eq!((headers[PARENT].to_str().unwrap(), headers[STATE].to_str().unwrap()), (parent.as_str(), "a=1,b=2"));
        let next = context.next();
        assert!(next.trace == context.trace && next.span != context.span && next.sampled && next.state == "a=1,b=2");
    }
}
