//! Blobs into containerd's content store, names into its image store.

use super::archive::{Contents, Descriptor, DockerImage, Extent, Images, read_extent};
use super::{ImageError, normalize};
use crate::cri::containerd_api::{content, images, leases};
use crate::cri::{MAX_MESSAGE, RuntimeError, channel, socket_path};
use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{Read, SeekFrom};
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// The namespace that CRI uses.
const NAMESPACE: &str = "k8s.io";
/// What goes into one message.
const CHUNK: usize = 1 << 20;

/// Marks images that came by hand and could not be had again: they are not collected. containerd knows it from 1.7 on.
pub(crate) const PINNED: &str = "io.cri-containerd.pinned";

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Hexadecimal SHA-256.
pub(super) fn sha256(data: &[u8]) -> String {
    hex(digest(&SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// containerd's stores, reached over one channel.
pub(super) struct Store {
    channel: Channel,
    lease: String,
}

/// What a blob is made of: bytes at hand or a part of the archive.
enum Blob {
    Bytes(Vec<u8>),
    Extent(Extent),
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

fn refused(what: impl Into<String>) -> impl FnOnce(tonic::Status) -> ImageError {
    let what = what.into();
    move |status| ImageError::Refused { what, cause: RuntimeError::from(status) }
}

impl Store {
    pub(super) fn new(endpoint: &str) -> Self {
        let lease = format!("import-{}", uuid::Uuid::new_v4());
        Store { channel: channel(&socket_path(endpoint)), lease }
    }

    /// Stores all images of an archive; returns their full names.
    pub(super) async fn put(&self, contents: Contents) -> Result<Vec<String>, ImageError> {
        self.open_lease().await?;
        let names = self.put_images(&contents).await;
        self.close_lease().await;
        names
    }

    async fn put_images(&self, contents: &Contents) -> Result<Vec<String>, ImageError> {
        let mut names = Vec::new();
        match &contents.images {
            Images::Docker(images) => {
                for image in images {
                    let target = self.put_docker(contents, image).await?;
                    for tag in image.repo_tags.iter().flatten() {
                        names.push(self.name(contents, tag, &target).await?);
                    }
                }
            }
            Images::Oci(manifests) => {
                for manifest in manifests {
                    self.put_tree(contents, manifest, 0).await?;
                    let annotated = |key: &str| manifest.annotations.get(key);
                    let name = annotated("io.containerd.image.name")
                        .or_else(|| annotated("org.opencontainers.image.ref.name"));
                    let target = to_target(manifest);
                    if let Some(name) = name {
                        names.push(self.name(contents, name, &target).await?);
                    }
                }
            }
        }
        if names.is_empty() {
            let what = "it names no image".to_owned();
            return Err(ImageError::NotAnImage { path: contents.origin.clone(), what });
        }
        Ok(names)
    }

    /// A docker image has no manifest yet: its layers' digests become one.
    async fn put_docker(&self, contents: &Contents, image: &DockerImage) -> Result<images::Descriptor, ImageError> {
        let mut labels = HashMap::new();
        let mut layers = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let extent = self.find(contents, layer)?;
            let media = if self.is_gzip(contents, extent)? { LAYER_GZIP } else { LAYER };
            let digest = self.write(contents, Blob::Extent(extent), HashMap::new()).await?;
            labels.insert(format!("containerd.io/gc.ref.content.l.{at}"), digest.clone());
            layers.push(serde_json::json!({ "mediaType": media, "digest": digest, "size": extent.size }));
        }
        let extent = self.find(contents, &image.config)?;
        let config = self.write(contents, Blob::Extent(extent), HashMap::new()).await?;
        labels.insert("containerd.io/gc.ref.content.config".to_owned(), config.clone());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": config, "size": extent.size },
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let size = i64::try_from(manifest.len()).unwrap_or(i64::MAX);
        let digest = self.write(contents, Blob::Bytes(manifest), labels).await?;
        Ok(images::Descriptor { media_type: MANIFEST.to_owned(), digest, size, annotations: HashMap::new() })
    }

    /// A manifest or index with all that it refers to, leaves first; what the archive lacks is left out.
    async fn put_tree(&self, contents: &Contents, node: &Descriptor, depth: u8) -> Result<(), ImageError> {
        let Some(extent) = contents.files.get(&blob_path(&node.digest)).copied() else { return Ok(()) };
        let branch = node.media_type.contains("manifest") || node.media_type.contains("index");
        if !branch || depth > 3 {
            return self.write(contents, Blob::Extent(extent), HashMap::new()).await.map(drop);
        }
        let text = read_extent(&mut contents.source.lock(), extent)
            .map_err(|cause| ImageError::Read { path: contents.origin.clone(), cause })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|e| ImageError::NotAnImage { path: contents.origin.clone(), what: e.to_string() })?;
        let named = |prefix: &'static str, list: &[Descriptor]| -> Vec<(String, Descriptor)> {
            list.iter().enumerate().map(|(at, blob)| (format!("{prefix}.{at}"), blob.clone())).collect()
        };
        let mut children = named("l", &manifest.layers);
        children.extend(named("m", &manifest.manifests));
        children.extend(manifest.config.map(|config| ("config".to_owned(), config)));
        let mut labels = HashMap::new();
        for (label, child) in children {
            if contents.files.contains_key(&blob_path(&child.digest)) {
                Box::pin(self.put_tree(contents, &child, depth + 1)).await?;
                labels.insert(format!("containerd.io/gc.ref.content.{label}"), child.digest);
            }
        }
        self.write(contents, Blob::Bytes(text), labels).await.map(drop)
    }

    fn find(&self, contents: &Contents, name: &str) -> Result<Extent, ImageError> {
        contents.files.get(name).copied().ok_or_else(|| ImageError::NotAnImage {
            path: contents.origin.clone(),
            what: format!("{name}, which its manifest names, is not in it"),
        })
    }

    fn is_gzip(&self, contents: &Contents, extent: Extent) -> Result<bool, ImageError> {
        let start = Extent { size: extent.size.min(2), ..extent };
        let start = read_extent(&mut contents.source.lock(), start)
            .map_err(|cause| ImageError::Read { path: contents.origin.clone(), cause })?;
        Ok(start == [0x1f, 0x8b])
    }

    /// Writes one blob and returns its digest, which is computed on the way.
    async fn write(
        &self,
        contents: &Contents,
        blob: Blob,
        labels: HashMap<String, String>,
    ) -> Result<String, ImageError> {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let source = contents.source.clone();
        let reference = format!("{}-{}", self.lease, uuid::Uuid::new_v4());
        let producer = tokio::task::spawn_blocking(move || match blob {
            Blob::Bytes(bytes) => {
                let size = bytes.len() as u64;
                produce(&mut &bytes[..], size, &reference, labels, &sender)
            }
            Blob::Extent(extent) => {
                let mut source = source.lock();
                source.seek(SeekFrom::Start(extent.offset))?;
                produce(&mut *source, extent.size, &reference, labels, &sender)
            }
        });
        let mut client = content::content_client::ContentClient::new(self.channel.clone());
        let request = self.request(ReceiverStream::new(receiver));
        let outcome = async {
            let mut answers = client.write(request).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<(), tonic::Status>(())
        }
        .await;
        let digest = producer.await.expect("reading an archive does not panic");
        match outcome {
            Ok(()) => {}
            Err(status) if status.code() == tonic::Code::AlreadyExists => {}
            Err(status) => return Err(refused("store a part of the image")(status)),
        }
        digest.map_err(|cause| ImageError::Read { path: contents.origin.clone(), cause })
    }

    async fn name(&self, contents: &Contents, name: &str, target: &images::Descriptor) -> Result<String, ImageError> {
        let full =
            normalize(name).map_err(|what| ImageError::NotAnImage { path: contents.origin.clone(), what })?.to_string();
        let labels = HashMap::from([(PINNED.to_owned(), "pinned".to_owned())]);
        let target = Some(target.clone());
        let image = Some(images::Image { name: full.clone(), target, labels, ..Default::default() });
        let mut client = images::images_client::ImagesClient::new(self.channel.clone());
        let created = client.create(self.request(images::CreateImageRequest { image: image.clone() })).await;
        match created {
            Ok(_) => Ok(full),
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let update = self.request(images::UpdateImageRequest { image });
                client.update(update).await.map_err(refused(format!("rename image {full}")))?;
                Ok(full)
            }
            Err(status) => Err(refused(format!("name image {full}"))(status)),
        }
    }

    async fn open_lease(&self) -> Result<(), ImageError> {
        let mut client = leases::leases_client::LeasesClient::new(self.channel.clone());
        let expiry = jiff::Timestamp::now() + Duration::from_secs(3600);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), format!("{expiry:.0}"))]);
        let mut request = tonic::Request::new(leases::CreateRequest { id: self.lease.clone(), labels });
        request.metadata_mut().insert("containerd-namespace", NAMESPACE.parse().expect("ASCII"));
        client.create(request).await.map_err(refused("open a lease"))?;
        Ok(())
    }

    async fn close_lease(&self) {
        let mut client = leases::leases_client::LeasesClient::new(self.channel.clone());
        let mut request = tonic::Request::new(leases::DeleteRequest { id: self.lease.clone(), sync: false });
        request.metadata_mut().insert("containerd-namespace", NAMESPACE.parse().expect("ASCII"));
        if let Err(error) = client.delete(request).await {
            // It expires by itself.
            tracing::debug!(%error, "lease of an import not closed");
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", NAMESPACE.parse().expect("ASCII"));
        metadata.insert("containerd-lease", self.lease.parse().expect("a UUID is ASCII"));
        request
    }
}

/// The names of pinned images, as far as the runtime is containerd.
pub(crate) async fn pinned(socket: &std::path::Path) -> Vec<String> {
    let filters = vec![format!("labels.\"{PINNED}\"==pinned")];
    let mut request = tonic::Request::new(images::ListImagesRequest { filters });
    request.metadata_mut().insert("containerd-namespace", NAMESPACE.parse().expect("ASCII"));
    let mut client = images::images_client::ImagesClient::new(channel(socket)).max_decoding_message_size(MAX_MESSAGE);
    let answer = client.list(request).await;
    answer.map(|answer| answer.into_inner().images.into_iter().map(|image| image.name).collect()).unwrap_or_default()
}

const _: () = assert!(CHUNK < MAX_MESSAGE);

/// Sends a blob in chunks and commits it under its digest.
fn produce(
    reader: &mut dyn Read,
    size: u64,
    reference: &str,
    labels: HashMap<String, String>,
    sender: &tokio::sync::mpsc::Sender<content::WriteContentRequest>,
) -> std::io::Result<String> {
    let total = i64::try_from(size).map_err(std::io::Error::other)?;
    let mut hash = Context::new(&SHA256);
    let mut offset = 0u64;
    let mut listening = true;
    while offset < size {
        let want = usize::try_from((size - offset).min(CHUNK as u64)).map_err(std::io::Error::other)?;
        let mut data = vec![0; want];
        reader.read_exact(&mut data)?;
        hash.update(&data);
        let message = content::WriteContentRequest {
            action: content::WriteAction::Write.into(),
            r#ref: reference.to_owned(),
            total,
            offset: i64::try_from(offset).map_err(std::io::Error::other)?,
            data,
            ..Default::default()
        };
        offset += want as u64;
        // The other side stops listening when it has the blob already; the digest is wanted all the same.
        listening = listening && sender.blocking_send(message).is_ok();
    }
    let digest = format!("sha256:{}", hex(hash.finish().as_ref()));
    let commit = content::WriteContentRequest {
        action: content::WriteAction::Commit.into(),
        r#ref: reference.to_owned(),
        total,
        expected: digest.clone(),
        offset: total,
        labels,
        ..Default::default()
    };
    let _ = sender.blocking_send(commit);
    Ok(digest)
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn to_target(descriptor: &Descriptor) -> images::Descriptor {
    images::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        annotations: HashMap::new(),
    }
}
