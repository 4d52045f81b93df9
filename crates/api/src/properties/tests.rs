//! Mutated golden objects, and inputs made to take long.

mod bombs;

use crate::golden::{RELEASES, golden};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::sync::LazyLock;

/// Golden objects of one encoding; small ones, so that many are tried.
struct Seeds {
    json: Vec<Vec<u8>>,
    yaml: Vec<Vec<u8>>,
    protobuf: Vec<Vec<u8>>,
}

/// The same inputs in every run: looking for new ones is what the fuzzers do.
const REPEATABLE: RngSeed = RngSeed::Fixed(1);

/// Longer objects are left to the fuzzers.
const LONGEST: usize = 12 << 10;

static SEEDS: LazyLock<Option<Seeds>> = LazyLock::new(|| {
    let mut seeds = Seeds { json: vec![], yaml: vec![], protobuf: vec![] };
    for release in RELEASES {
        for files in golden(release)?.into_values() {
            for (ending, list) in [("json", &mut seeds.json), ("yaml", &mut seeds.yaml), ("pb", &mut seeds.protobuf)] {
                list.extend(files.get(ending).filter(|f| f.len() < LONGEST).cloned());
            }
        }
    }
    assert!(seeds.json.len() > 200, "too few golden objects");
    Some(seeds)
});

/// What fuzzers find out by themselves: pieces that mean something.
const PIECES: &[&[u8]] = &[
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"\"",
    b"[",
    b"{",
    b"}",
    b"]",
    b",",
    b":",
    b"-1",
    b"9223372036854775808",
    b"1e400",
    b"1e-7",
    b"0.1",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc3\xa9",
    b"\0",
    b"\n",
    b"  ",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"|\n",
    b"'",
    b"# ",
    b"k8s\0",
    b"\x08",
    b"\x0a\x00",
    b"\x12\x00",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\"$patch\":\"delete\"",
    b"\"$retainKeys\":[]",
    b"\"0000-01-01T00:00:00+24:00\"",
    b"\"1.5Gi\"",
    b"\"-0\"",
];

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(u32, u8),
    Delete(u32, u8),
    Insert(u32, usize),
    Repeat(u32, u8),
    Move(u32, u32, u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<u32>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<u32>(), any::<u8>()).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<u32>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<u32>(), any::<u8>()).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<u32>(), any::<u32>(), any::<u8>()).prop_map(|(from, to, length)| Change::Move(from, to, length)),
    ]
}

fn changed(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let place = |at: &u32| *at as usize % bytes.len().max(1);
        let range = |at: &u32, length: &u8| place(at)..(place(at) + usize::from(*length)).min(bytes.len());
        match change {
            Change::Set(at, byte) if !bytes.is_empty() => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Change::Set(..) => {}
            Change::Delete(at, length) => {
                let range = range(at, length);
                bytes.drain(range);
            }
            Change::Insert(at, piece) => {
                let at = place(at);
                bytes.splice(at..at, PIECES[*piece].iter().copied());
            }
            Change::Repeat(at, length) => {
                let range = range(at, length);
                let (at, part) = (range.end, bytes[range].to_vec());
                bytes.splice(at..at, part);
            }
            Change::Move(from, to, length) => {
                let part = bytes[range(from, length)].to_vec();
                let to = place(to);
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

/// Calls a property with mutated seeds.
fn mutated(pick: fn(&Seeds) -> &Vec<Vec<u8>>, property: fn(&[u8])) {
    let Some(seeds) = &*SEEDS else { return };
    let seeds = pick(seeds);
    let inputs = (0..seeds.len(), prop::collection::vec(change(), 0..6));
    let config = ProptestConfig { failure_persistence: None, rng_seed: REPEATABLE, ..ProptestConfig::with_cases(400) };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&inputs, |(seed, changes)| {
        property(&changed(&seeds[seed], &changes));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn json() {
    mutated(|s| &s.json, super::json);
}

#[test]
fn yaml() {
    mutated(|s| &s.yaml, super::yaml);
}

#[test]
fn protobuf() {
    mutated(|s| &s.protobuf, super::protobuf);
}

/// Mutated objects, and others or parts of them as patches or configurations.
fn paired(property: fn(&[u8])) {
    let Some(seeds) = &*SEEDS else { return };
    let seeds = &seeds.json;
    let changes = || prop::collection::vec(change(), 0..3);
    let patch = prop::sample::select(PATCHES);
    let inputs = (0..seeds.len(), 0..seeds.len(), changes(), changes(), prop::option::of(patch));
    let config = ProptestConfig { failure_persistence: None, rng_seed: REPEATABLE, ..ProptestConfig::with_cases(400) };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&inputs, |(at, other, one, two, patch)| {
        let object = changed(&seeds[at], &one);
        let patch = match patch {
            Some(patch) => changed(patch.as_bytes(), &two),
            None => changed(&seeds[if other % 2 == 0 { at } else { other }], &two),
        };
        property(&[&object[..], b"\0", &patch].concat());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

const PATCHES: &[&str] = &[
    r#"[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"remove","path":"/spec"}]"#,
    r#"[{"op":"copy","from":"/metadata","path":"/spec/a"},{"op":"test","path":"/kind","value":"Pod"}]"#,
    r#"[{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"},{"op":"replace","path":"","value":{}}]"#,
    r#"{"metadata":{"labels":null,"finalizers":["a","b"]},"spec":{"containers":[{"name":"a","image":"b"}]}}"#,
    r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"$retainKeys":["name"]}}"#,
    r#"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","$patch":"delete"}]}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"$patch":"replace"},{"name":"a","ports":[{"containerPort":1}]}]}}}}"#,
    r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"b"}]}}"#,
    r#"{"apiVersion":"example.org/v1","kind":"Thing","spec":{"list":[{"name":"n"}],"set":["x"],"any":{"y":[1]}}}"#,
];

#[test]
fn patches() {
    paired(super::patches);
}

#[test]
fn apply() {
    paired(super::apply);
}

/// Texts made of what such texts are made of.
fn spelled(pieces: &'static [&'static str], property: fn(&[u8])) {
    let config =
        ProptestConfig { failure_persistence: None, rng_seed: REPEATABLE, ..ProptestConfig::with_cases(4_000) };
    let inputs = prop::collection::vec(prop::sample::select(pieces), 0..12);
    let outcome = proptest::test_runner::TestRunner::new(config).run(&inputs, |words| {
        property(words.concat().as_bytes());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn selectors() {
    let pieces = &[
        "a",
        "b/c",
        "x.y/z",
        "1",
        "-",
        "=",
        "==",
        "!=",
        "!",
        ",",
        "(",
        ")",
        " in ",
        " notin ",
        "in",
        "notin",
        " ",
        "<",
        ">",
        "\\",
        "\\,",
        "\\=",
        "\0",
        "é",
        "metadata.name",
        "\n",
    ];
    spelled(pieces, super::selectors);
}

#[test]
fn scalars() {
    let pieces = &[
        "0",
        "1",
        "9",
        "00",
        "123456789",
        "99999999999999999999",
        ".",
        "-",
        "+",
        "e",
        "E",
        "m",
        "u",
        "n",
        "k",
        "Ki",
        "Gi",
        "Ei",
        "E3",
        "e-3",
        "h",
        "ms",
        "µs",
        "ns",
        "s",
        ":",
        "/",
        "/24",
        "::",
        "::1",
        "10.0.0.1",
        "%",
        "a",
        "*.",
        "a.b",
        "2024-02-29T",
        "0000-01-01T00:00:00",
        "9999-12-31T23:59:59",
        "23:59:59",
        "Z",
        "+24:00",
        "-24:60",
        "+-1:00",
        " ",
        "é",
    ];
    spelled(pieces, super::scalars);
}

#[test]
fn patterns() {
    let pieces = &[
        "a",
        "é",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?P<n>",
        "(?-s:",
        "[",
        "]",
        "[^",
        "-",
        "a-z",
        "[:alpha:]",
        "\\d",
        "\\pL",
        "\\p{Greek}",
        "\\Q",
        "\\E",
        "\\",
        "\\x{",
        "{2}",
        "{2,}",
        "{,2}",
        "{1000}",
        "{1001}",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        ".",
        "&&",
        "~~",
        "#",
        " ",
        "\\b",
        "\\z",
        "\\C",
    ];
    spelled(pieces, super::patterns);
}
