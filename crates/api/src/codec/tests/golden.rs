//! Objects with every field filled in, in every encoding, of four releases.

use super::*;
use crate::golden::{Encodings, RELEASES, golden, type_of};

/// JSON without the space between tokens.
fn compact(json: &[u8]) -> String {
    let (mut out, mut quoted, mut escaped) = (vec![], false, false);
    for c in json {
        if quoted || !c.is_ascii_whitespace() {
            out.push(*c);
        }
        match c {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    String::from_utf8(out).expect("golden JSON is UTF-8")
}

/// Tells the first place where two texts part.
#[track_caller]
fn same(name: &str, ours: &[u8], theirs: &[u8]) {
    if ours == theirs {
        return;
    }
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let from = at.saturating_sub(80);
    let show = |b: &[u8]| String::from_utf8_lossy(&b[from..b.len().min(at + 80)]).into_owned();
    panic!("{name} differs at {at}:\n ours   {}\n theirs {}", show(ours), show(theirs));
}

fn each(release: &str, check: impl Fn(&str, TypeRef<'static>, &Encodings)) {
    let Some(golden) = golden(release) else { return };
    let mut seen = 0;
    for (name, files) in &golden {
        match type_of(name) {
            Some(ty) => check(name, ty, files),
            None => {
                assert_ne!(release, "1.36", "no type for {name}");
                eprintln!("{name} of {release} is gone");
                continue;
            }
        }
        seen += 1;
    }
    assert!(seen > 100, "{seen} objects are too few");
}

/// What the current release writes back after reading a file.
fn after<'f>(files: &'f Encodings, ending: &str) -> &'f [u8] {
    files.get(&format!("after.{ending}")).unwrap_or_else(|| &files[ending])
}

#[test]
fn json_comes_back() {
    for release in RELEASES {
        each(release, |name, ty, files| {
            let (value, strict) = decode_json(ty, &files["json"]).unwrap_or_else(|e| panic!("{name}: {e}"));
            same(name, text(&value).as_bytes(), compact(after(files, "json")).as_bytes());
            if release == "1.36" {
                assert!(strict.findings.is_empty(), "{name}: {:?}", strict.findings);
            }
            let (coerced, _) = coerce(ty, parse_json(&files["json"]).expect("JSON")).expect("an object");
            assert_eq!(coerced, value, "{name}");
            let mut normal = value.clone();
            ty.normalize(&mut normal);
            assert_eq!(normal, value, "{name}");
        });
    }
}

#[test]
fn protobuf_comes_back() {
    for release in RELEASES {
        each(release, |name, ty, files| {
            let value = decode_protobuf(ty, &files["pb"]).unwrap_or_else(|e| panic!("{name}: {e}"));
            same(name, text(&value).as_bytes(), compact(after(files, "json")).as_bytes());
            let mut out = vec![];
            write_protobuf(ty, &value, &mut out);
            same(name, &out, after(files, "pb"));
        });
    }
}

#[test]
fn yaml_comes_back() {
    for release in RELEASES {
        each(release, |name, ty, files| {
            let parsed = parse_yaml(&files["yaml"]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let (value, _) = coerce(ty, parsed).unwrap_or_else(|e| panic!("{name}: {e}"));
            same(name, text(&value).as_bytes(), compact(after(files, "json")).as_bytes());
            same(name, write_yaml(&value).as_bytes(), after(files, "yaml"));
        });
    }
}
