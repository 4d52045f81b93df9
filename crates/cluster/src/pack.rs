//! Packing a directory as an image archive, as `docker save` writes one: for machines without a registry.

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What the image says of itself.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Names with tags.
    pub names: Vec<String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// User, or empty for root.
    pub user: String,
}

/// The archive could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not pack {dir} into {output}: {cause}")]
pub struct PackError {
    /// The directory.
    pub dir: PathBuf,
    /// The archive.
    pub output: PathBuf,
    /// What the system said.
    pub cause: io::Error,
}

/// Packs a directory as a one-layer image.
pub fn directory(dir: &Path, image: &Image, output: &Path) -> Result<(), PackError> {
    let fail = |cause| PackError { dir: dir.to_owned(), output: output.to_owned(), cause };
    let layer_path = output.with_extension("layer");
    let written = write_layer(dir, &layer_path).and_then(|id| write_archive(&layer_path, &id, image, output));
    // Best effort: the layer file is ours alone, and the archive is what counts.
    let _ = std::fs::remove_file(&layer_path);
    written.map_err(fail)
}

/// Writes the layer and gives its SHA-256.
fn write_layer(dir: &Path, path: &Path) -> io::Result<String> {
    let mut builder = tar::Builder::new(File::create(path)?);
    builder.mode(tar::HeaderMode::Complete);
    builder.follow_symlinks(false);
    builder.append_dir_all("", dir)?;
    let mut file = builder.into_inner()?;
    file.flush()?;
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(context.finish().as_ref())),
            n => context.update(&buffer[..n]),
        }
    }
}

fn write_archive(layer: &Path, id: &str, image: &Image, output: &Path) -> io::Result<()> {
    let mut env = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    env.extend(image.env.iter().cloned());
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{id}")]},
        "config": {"Env": env, "Entrypoint": image.entrypoint, "Cmd": image.cmd, "User": image.user},
        "history": [{"created_by": "kaji images pack"}],
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", hex(digest(&SHA256, &config).as_ref()));
    let layer_name = format!("{id}/layer.tar");
    let manifest =
        serde_json::to_vec(&json!([{"Config": config_name, "RepoTags": image.names, "Layers": [layer_name]}]))?;

    let mut archive = tar::Builder::new(File::create(output)?);
    let mut file = File::open(layer)?;
    file.rewind()?;
    archive.append_file(&layer_name, &mut file)?;
    append(&mut archive, &config_name, &config)?;
    append(&mut archive, "manifest.json", &manifest)?;
    archive.into_inner()?.sync_all()
}

fn append(archive: &mut tar::Builder<File>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
