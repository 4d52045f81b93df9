//! Reading image archives, and writing the one of the sandbox.

use super::{ImageError, Source};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{Read, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// The largest document (manifest, index) that is read into memory.
const MAX_DOCUMENT: u64 = 8 << 20;

/// A part of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What an archive holds, its parts found.
pub(super) struct Contents {
    pub(super) origin: String,
    pub(super) source: Arc<parking_lot::Mutex<Box<dyn Source>>>,
    pub(super) files: HashMap<String, Extent>,
    pub(super) images: Images,
}

/// The images as the archive describes them.
pub(super) enum Images {
    /// `manifest.json`.
    Docker(Vec<DockerImage>),
    /// `index.json`.
    Oci(Vec<Descriptor>),
}

/// One entry of `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// A reference to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: i64,
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// Reads the table of contents; only headers and small documents are touched.
pub(super) async fn open(origin: String, source: impl Source) -> Result<Contents, ImageError> {
    let task = tokio::task::spawn_blocking(move || read(origin, Box::new(source)));
    task.await.expect("reading an archive does not panic")
}

fn read(origin: String, mut source: Box<dyn Source>) -> Result<Contents, ImageError> {
    let unreadable = |cause| ImageError::Read { path: origin.clone(), cause };
    let (files, links) = table(&mut source).map_err(unreadable)?;
    let files = with_links(files, links);
    let mut document = |name: &str| -> Result<Option<Vec<u8>>, ImageError> {
        let Some(extent) = files.get(name) else { return Ok(None) };
        read_extent(&mut source, *extent).map(Some).map_err(unreadable)
    };
    let malformed = |error: serde_json::Error| ImageError::NotAnImage { path: origin.clone(), what: error.to_string() };
    let images = if let Some(text) = document("manifest.json")? {
        Images::Docker(serde_json::from_slice(&text).map_err(malformed)?)
    } else if let Some(text) = document("index.json")? {
        Images::Oci(serde_json::from_slice::<Index>(&text).map_err(malformed)?.manifests)
    } else {
        let what = "it has neither manifest.json (docker save) nor index.json (OCI layout)".to_owned();
        return Err(ImageError::NotAnImage { path: origin, what });
    };
    Ok(Contents { origin, source: Arc::new(parking_lot::Mutex::new(source)), files, images })
}

type Table = (HashMap<String, Extent>, Vec<(String, String)>);

fn table(source: &mut Box<dyn Source>) -> std::io::Result<Table> {
    let mut files = HashMap::new();
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(source);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() {
            files.insert(name, Extent { offset: entry.raw_file_position(), size: entry.size() });
        } else if let Some(target) = entry.link_name()? {
            links.push((name, target.to_string_lossy().into_owned()));
        }
    }
    Ok((files, links))
}

/// Old archives link to a layer that they hold already.
fn with_links(mut files: HashMap<String, Extent>, links: Vec<(String, String)>) -> HashMap<String, Extent> {
    for (name, target) in links {
        let tail = target.trim_start_matches("../").trim_start_matches("./");
        if let Some(extent) = files.get(tail).copied() {
            files.insert(name, extent);
        }
    }
    files
}

/// A small document of the archive.
pub(super) fn read_extent(source: &mut Box<dyn Source>, extent: Extent) -> std::io::Result<Vec<u8>> {
    if extent.size > MAX_DOCUMENT {
        return Err(std::io::Error::other(format!("a document of {} bytes is too large", extent.size)));
    }
    source.seek(SeekFrom::Start(extent.offset))?;
    let mut text = vec![0; usize::try_from(extent.size).map_err(std::io::Error::other)?];
    source.read_exact(&mut text)?;
    Ok(text)
}

/// A docker archive of one image named `name` that holds `binary`, the program of this process, run with
/// `arguments`. A release is static and alone in it; a developer's build brings the libraries it has loaded.
pub fn archive(name: &str, binary: &Path, arguments: &[&str]) -> std::io::Result<Vec<u8>> {
    let program = std::fs::read(binary)?;
    let libraries = libraries(&std::fs::read_to_string("/proc/self/maps")?);
    let mut files = vec![("kaji", program)];
    for (path, source) in &libraries {
        files.push((path, std::fs::read(source)?));
    }
    let entrypoint: Vec<&str> = std::iter::once("/kaji").chain(arguments.iter().copied()).collect();
    archive_of(name, &files, &entrypoint)
}

/// The shared libraries in a process's table of mappings: where each goes in an image, and where it is here. The
/// dynamic loader goes where programs ask for it, too.
fn libraries(maps: &str) -> std::collections::BTreeMap<String, String> {
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let mut found = std::collections::BTreeMap::new();
    for path in mapped.filter(|path| path.starts_with('/') && path.contains(".so")) {
        let name = path.rsplit('/').next().unwrap_or_default();
        found.insert(path.trim_start_matches('/').to_owned(), path.to_owned());
        if name.starts_with("ld-") {
            let root = if name.contains("x86-64") { "lib64" } else { "lib" };
            found.insert(format!("{root}/{name}"), path.to_owned());
        }
    }
    found
}

/// A docker archive of one image with these programs.
pub(crate) fn archive_of(name: &str, programs: &[(&str, Vec<u8>)], entrypoint: &[&str]) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, program) in programs {
        append(&mut layer, path, 0o755, program)?;
    }
    let layer = layer.into_inner()?;
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": entrypoint, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", super::store::sha256(&layer))] },
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut outer = tar::Builder::new(Vec::with_capacity(layer.len() + 8192));
    append(&mut outer, "layer.tar", 0o644, &layer)?;
    append(&mut outer, "config.json", 0o644, &config)?;
    append(&mut outer, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
    outer.into_inner()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, data: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    tar.append_data(&mut header, name, data)
}

/// This machine's architecture in Go's words, as images and nodes name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_brings_its_loader_and_libraries() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 1 /usr/bin/kaji\n\
            7f01-7f02 r-xp 00000000 08:01 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f02-7f03 r--p 00000000 08:01 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n\
            7f03-7f04 rw-p 00000000 00:00 0 [heap]\n7f04-7f05 rw-p 00000000 00:00 0\n";
        let places: Vec<String> = libraries(maps).into_keys().collect();
        let want = [
            "lib64/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
        ];
        assert_eq!(places, want);
        assert!(libraries("7f00-7f01 r-xp 00000000 08:01 1 /usr/bin/kaji\n").is_empty(), "static");
    }
}
