//! A member's database as one file, while it works.

use super::Client;
use super::members::{Connection, Effect, led};
use super::proto::SnapshotRequest;
use crate::{Revision, StoreError};
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tonic::Status;

/// The file in the target directory, as `etcdctl snapshot restore` takes it.
const FILE: &str = "etcd.snapshot";
/// How long a member may be silent meanwhile.
const SILENCE: Duration = Duration::from_secs(30);

/// Why it failed halfway.
enum Failure {
    Call(Status),
    Write(std::io::Error),
    /// The file is not what the member's checksum says.
    Damaged,
}

/// Writes a snapshot below `target`; the revision it surely contains.
pub(super) async fn take(client: &Client, target: &Path) -> Result<Revision, StoreError> {
    let cannot = |what: String, cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Failed {
        context: format!("could not take a snapshot of etcd: {what}"),
        cause,
    };
    let disk = |path: PathBuf| move |cause| cannot(format!("writing {}", path.display()), Box::new(cause));
    tokio::fs::create_dir_all(target).await.map_err(disk(target.to_owned()))?;
    let (file, part) = (target.join(FILE), target.join(format!("{FILE}.part")));
    // A linearizable read: from then on the member has what the answer says.
    let at = |c: Connection| async move {
        let revision = client.revision_at(&c).await?;
        Ok((c, revision))
    };
    let (connection, revision) = client.members.call(Effect::Read, "take a snapshot of etcd", 0, at).await?;
    match copy(&connection, &part).await {
        Ok(()) => {}
        Err(Failure::Call(status)) => return Err(cannot(status.message().to_owned(), Box::new(status))),
        Err(Failure::Write(cause)) => return Err(disk(part)(cause)),
        Err(Failure::Damaged) => {
            return Err(StoreError::Damaged {
                file: part.display().to_string(),
                what: "its checksum is wrong".to_owned(),
                advice: "take the snapshot again".to_owned(),
            });
        }
    }
    tokio::fs::rename(&part, &file).await.map_err(disk(file))?;
    let dir = File::open(target).await.map_err(disk(target.to_owned()))?;
    dir.sync_all().await.map_err(disk(target.to_owned()))?;
    Ok(revision)
}

async fn copy(connection: &Connection, part: &Path) -> Result<(), Failure> {
    let call = |status| Failure::Call(status);
    let mut stream = connection.maintenance().snapshot(led(SnapshotRequest {})).await.map_err(call)?.into_inner();
    let mut file = File::create(part).await.map_err(Failure::Write)?;
    let mut digest = Trailing::new();
    loop {
        let next = tokio::time::timeout(SILENCE, stream.message()).await;
        let silent = || Status::deadline_exceeded(format!("nothing came for {} s", SILENCE.as_secs()));
        let Some(message) = next.map_err(|_| call(silent()))?.map_err(call)? else { break };
        digest.add(&message.blob);
        file.write_all(&message.blob).await.map_err(Failure::Write)?;
    }
    file.sync_all().await.map_err(Failure::Write)?;
    if digest.matches() { Ok(()) } else { Err(Failure::Damaged) }
}

/// A digest of all but the last bytes, which are the digest.
struct Trailing {
    context: Context,
    last: Vec<u8>,
}

impl Trailing {
    fn new() -> Self {
        Trailing { context: Context::new(&SHA256), last: Vec::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        let sure = self.last.len().saturating_sub(SHA256_OUTPUT_LEN);
        self.context.update(&self.last[..sure]);
        self.last.drain(..sure);
    }

    fn matches(self) -> bool {
        self.context.finish().as_ref() == self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;

    #[test]
    fn the_digest_is_found_however_the_bytes_come() {
        let content = b"some pages of a database";
        let whole = [content.as_slice(), digest(&SHA256, content).as_ref()].concat();
        for size in [1, 7, 31, 33, 1000] {
            let mut trailing = Trailing::new();
            whole.chunks(size).for_each(|c| trailing.add(c));
            assert!(trailing.matches(), "{size}");
        }
        let mut cut = Trailing::new();
        cut.add(&whole[..whole.len() - 1]);
        assert!(!cut.matches());
    }
}
