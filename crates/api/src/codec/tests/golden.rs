//! Objects with every field filled in, in every encoding, of four releases.

use super::*;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Golden objects by name (`core.v1.Pod`) and file ending; `None` (told aloud) where they are not at hand.
fn golden(release: &str) -> Option<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/golden");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/reference/golden");
    let name = format!("golden-{release}.tar.gz");
    let Ok(packed) = std::fs::read(root.join(&name)).or_else(|_| std::fs::read(other.join(&name))) else {
        eprintln!("skipped: {name} is not in ../shared/reference/golden");
        return None;
    };
    let mut tar = vec![];
    GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).expect("a gzip file");
    let mut found: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (path, content) in files(&tar) {
        let file = path.rsplit('/').next().unwrap_or_default();
        let (stem, ending) = file.rsplit_once('.').expect("an ending");
        let (stem, ending) = match stem.strip_suffix(".after_roundtrip") {
            Some(stem) => (stem, format!("after.{ending}")),
            None => (stem, ending.to_owned()),
        };
        found.entry(stem.to_owned()).or_default().insert(ending, content.to_vec());
    }
    Some(found)
}

/// The plain files of a tar archive.
fn files(tar: &[u8]) -> Vec<(String, &[u8])> {
    let text = |b: &[u8]| String::from_utf8_lossy(b).trim_matches(['\0', ' ']).to_owned();
    let (mut at, mut found, mut long) = (0, vec![], None);
    while let Some(header) = tar.get(at..at + 512).filter(|h| h[0] != 0) {
        let size = usize::from_str_radix(&text(&header[124..136]), 8).expect("an octal size");
        let content = &tar[at + 512..at + 512 + size];
        match header[156] {
            b'L' => long = Some(text(content)),
            b'0' | 0 => found.push((long.take().unwrap_or_else(|| text(&header[..100])), content)),
            _ => long = None,
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    found
}

/// The type of `group.version.Kind`; groups with dots have them in the name too.
fn type_of(name: &str) -> Option<TypeRef<'static>> {
    let (rest, kind_name) = name.rsplit_once('.')?;
    let (group, version) = rest.rsplit_once('.')?;
    kind(if group == "core" { "" } else { group }, version, kind_name)
}

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

fn each(release: &str, check: impl Fn(&str, TypeRef<'static>, &BTreeMap<String, Vec<u8>>)) {
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
fn after<'f>(files: &'f BTreeMap<String, Vec<u8>>, ending: &str) -> &'f [u8] {
    files.get(&format!("after.{ending}")).unwrap_or_else(|| &files[ending])
}

const RELEASES: [&str; 4] = ["1.33", "1.34", "1.35", "1.36"];

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
