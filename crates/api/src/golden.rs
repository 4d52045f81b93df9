//! Objects with every field filled in, in every encoding, of four releases: what upstream's own tests compare with.

use crate::schema::{TypeRef, kind};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Releases, oldest first.
pub(crate) const RELEASES: [&str; 4] = ["1.33", "1.34", "1.35", "1.36"];

/// An object's encodings by file ending: `json`, `yaml`, `pb`, and `after.…` where the current release writes back
/// something else.
pub(crate) type Encodings = BTreeMap<String, Vec<u8>>;

/// Golden objects by name (`core.v1.Pod`); `None` (told aloud) where they are not at hand.
pub(crate) fn golden(release: &str) -> Option<BTreeMap<String, Encodings>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/golden");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/reference/golden");
    let name = format!("golden-{release}.tar.gz");
    let Ok(packed) = std::fs::read(root.join(&name)).or_else(|_| std::fs::read(other.join(&name))) else {
        eprintln!("skipped: {name} is not in ../shared/reference/golden");
        return None;
    };
    let mut tar = vec![];
    GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).expect("a gzip file");
    let mut found: BTreeMap<String, Encodings> = BTreeMap::new();
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
pub(crate) fn type_of(name: &str) -> Option<TypeRef<'static>> {
    let (rest, kind_name) = name.rsplit_once('.')?;
    let (group, version) = rest.rsplit_once('.')?;
    kind(if group == "core" { "" } else { group }, version, kind_name)
}
