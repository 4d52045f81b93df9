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

/// A docker archive of one image named `name` whose only file is `binary`, run with `arguments`.
pub fn archive(name: &str, binary: &Path, arguments: &[&str]) -> std::io::Result<Vec<u8>> {
    let program = std::fs::read(binary)?;
    let entrypoint: Vec<&str> = std::iter::once("/kaji").chain(arguments.iter().copied()).collect();
    archive_of(name, &[("kaji", program)], &entrypoint)
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
