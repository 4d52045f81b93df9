//! Images without a registry: import of archives, the list, and the sandbox image made of our own binary.
//!
//! An archive is a tar as `docker save` writes it (`manifest.json`) or an OCI layout (`index.json`). Blobs go into
//! containerd's content store under a lease, names into its image store; CRI notices and unpacks at first use.

mod archive;
mod names;
pub(crate) mod store;

pub(crate) use archive::architecture;
pub use archive::archive;
#[cfg(test)]
pub(crate) use archive::archive_of;
pub use names::{Familiar, normalize, validate};

use crate::cri::{Cri, RuntimeError, v1};
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

/// Why an image could not be imported or listed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The archive could not be read.
    #[error("could not read the archive {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The archive holds no image that we understand.
    #[error("{path} is not an image archive: {what}")]
    NotAnImage {
        /// Which.
        path: String,
        /// What is missing or malformed.
        what: String,
    },
    /// The runtime refused.
    #[error("the runtime refused to {what}")]
    Refused {
        /// What it was asked.
        what: String,
        /// Its words.
        #[source]
        cause: RuntimeError,
    },
}

/// An image on the node.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its configuration's digest.
    pub id: String,
    /// Names with tags.
    pub tags: Vec<String>,
    /// Names with digests.
    pub digests: Vec<String>,
    /// Bytes, compressed as stored.
    pub size: u64,
    /// Never collected.
    pub pinned: bool,
}

/// Anything an archive can be read from.
pub trait Source: Read + Seek + Send + 'static {}
impl<T: Read + Seek + Send + 'static> Source for T {}

/// Imports an archive file; returns the names it brought.
pub async fn import(endpoint: &str, tar: &Path) -> Result<Vec<String>, ImageError> {
    let path = tar.display().to_string();
    let file = std::fs::File::open(tar).map_err(|cause| ImageError::Read { path: path.clone(), cause })?;
    import_from(endpoint, &path, file).await
}

/// Imports an archive from any source; `origin` names it in errors.
pub async fn import_from(endpoint: &str, origin: &str, source: impl Source) -> Result<Vec<String>, ImageError> {
    let contents = archive::open(origin.to_owned(), source).await?;
    let names = store::Store::new(endpoint).put(contents).await?;
    for name in &names {
        until_known(endpoint, name).await?;
    }
    Ok(names)
}

/// CRI learns of new images by containerd's events: wait for it, so that whoever asks next finds the image.
async fn until_known(endpoint: &str, name: &str) -> Result<(), ImageError> {
    let cri = Cri::new(endpoint, Duration::from_secs(10));
    for _ in 0..100 {
        let image = Some(v1::ImageSpec { image: name.to_owned(), ..Default::default() });
        let answer = cri.image_status(v1::ImageStatusRequest { image, verbose: false }).await;
        let answer = answer.map_err(|cause| ImageError::Refused { what: format!("look up image {name}"), cause })?;
        if answer.image.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cause = RuntimeError::unknown("the image was stored but did not appear within 5 s");
    Err(ImageError::Refused { what: format!("take up image {name}"), cause })
}

/// The node's images.
pub async fn list(endpoint: &str) -> Result<Vec<Image>, ImageError> {
    let cri = Cri::new(endpoint, Duration::from_secs(30));
    let answer = cri.list_images(v1::ListImagesRequest { filter: None }).await;
    let answer = answer.map_err(|cause| ImageError::Refused { what: "list images".to_owned(), cause })?;
    let image = |image: v1::Image| Image {
        id: image.id,
        tags: image.repo_tags,
        digests: image.repo_digests,
        size: image.size,
        pinned: image.pinned,
    };
    Ok(answer.images.into_iter().map(image).collect())
}
