//! A watch from the past: reads history from the disk, piece by piece as the watcher takes it, until the ring of
//! recent events reaches back far enough to join.

use super::Shared;
use super::engine::Fault;
use super::format::{self, LOG};
use super::hub::{Joining, Message};
use super::index::Version;
use super::pool::{Pool, closed};
use crate::{Event, Revision, StoreError, Watched};
use std::sync::Weak;

/// Entries looked at in one go.
const PIECE: usize = 4096;
/// Bytes of values sent in one go, roughly.
const PIECE_BYTES: usize = 1 << 20;

/// A piece of history.
struct Piece {
    events: Vec<Event>,
    /// The first revision behind it.
    next: Revision,
}

/// Brings a watcher up to date, then lets it join. Ends early when the watcher or the store goes.
pub(super) async fn run(shared: Weak<Shared>, pool: Weak<Pool>, mut joining: Joining) {
    loop {
        let piece = match read(&shared, &pool, &joining).await {
            Ok(piece) => piece,
            Err(error) => {
                joining.farewell.send(Err(error));
                return;
            }
        };
        joining.from = piece.next;
        let message: Option<Message> = (!piece.events.is_empty()).then(|| Ok(Watched::Events(piece.events)));
        if let Some(message) = message
            && joining.sender.send(message).await.is_err()
        {
            return;
        }
        let Some(shared) = shared.upgrade() else { return };
        match shared.hub.lock().join(joining) {
            Ok(()) => return,
            Err(back) => joining = back,
        }
    }
}

async fn read(shared: &Weak<Shared>, pool: &Weak<Pool>, joining: &Joining) -> Result<Piece, StoreError> {
    let (Some(shared), Some(pool)) = (shared.upgrade(), pool.upgrade()) else { return Err(closed()) };
    let (prefix, from) = (joining.prefix.clone(), joining.from);
    pool.run(move || read_piece(&shared, &prefix, from).map_err(|f| shared.engine.explain(f, "read"))).await
}

fn read_piece(shared: &Shared, prefix: &str, from: Revision) -> Result<Piece, Fault> {
    let state = shared.state.read();
    if from < state.oldest {
        return Err(Fault::Other(StoreError::Compacted { asked: from, oldest: state.oldest }));
    }
    let newest = state.revision;
    let view = shared.engine.begin_read()?;
    drop(state);
    let log = view.open_table(LOG)?;
    let mut piece = Piece { events: Vec::new(), next: newest + 1 };
    let mut bytes = 0;
    for (looked_at, item) in log.range::<&[u8; 12]>(&format::log_key(from, 0)..)?.enumerate() {
        let (at, stored) = item?;
        let (revision, seq) = format::read_log_key(at.value());
        if revision > newest {
            break;
        }
        // Only whole transactions: break off before the first entry of the next.
        if seq == 0 && (looked_at >= PIECE || bytes >= PIECE_BYTES) {
            piece.next = revision;
            break;
        }
        let Some(entry) = format::read_entry(stored.value()) else {
            return Err(shared.engine.damaged(format!("log entry {seq} of revision {revision} has a wrong checksum")));
        };
        if !entry.key.starts_with(prefix) {
            continue;
        }
        let load = |modified, seq| {
            let version = Version { modified, create: 0, seq };
            shared.engine.load(&view, entry.key, version)
        };
        let previous = match entry.previous {
            (0, _) => None,
            (modified, seq) => Some(load(modified, seq)?),
        };
        let version = Version { modified: revision, create: entry.create, seq };
        let current = match version.is_live() {
            true => Some(shared.engine.record(entry.key, version, Some(stored.value()))?),
            false => None,
        };
        bytes += stored.value().len();
        piece.events.push(Event { revision, previous, current });
    }
    Ok(piece)
}
