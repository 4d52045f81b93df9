//! What a watch stream says, put together: whole transactions, each once, and how far they reach.

use super::super::keys::{Keys, is_mark, revision};
use super::super::proto::{Event as Raw, WatchResponse, event::EventType};
use crate::{Event, Revision, StoreError};

/// Where a watch is; survives its streams.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    /// The first revision still wanted.
    pub(super) next: Revision,
    /// Nothing up to here is missing.
    pub(super) reached: Revision,
    /// The first fragments of a message.
    partial: Vec<Event>,
}

/// What a message amounts to.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing to tell (yet).
    Nothing,
    /// Whole transactions.
    Events(Vec<Event>),
    /// Nothing new, but this is how far it reaches.
    Progress(Revision),
    /// The member ended the watch, for this reason; another may go on.
    Ended(String),
}

impl Gather {
    /// From a revision on.
    pub(super) fn new(from: Revision) -> Self {
        Gather { next: from, reached: 0, partial: Vec::new() }
    }

    /// A new stream begins: what came half is sent again.
    pub(super) fn restart(&mut self) {
        self.partial.clear();
    }

    /// Takes one message. An error ends the watch: its reader must start over from a list.
    pub(super) fn take(&mut self, keys: &Keys, message: WatchResponse) -> Result<Step, StoreError> {
        if message.compact_revision != 0 {
            return Err(StoreError::Compacted { asked: self.next, oldest: revision(message.compact_revision) });
        }
        if message.canceled {
            return Ok(Step::Ended(message.cancel_reason));
        }
        if message.created {
            return Ok(Step::Nothing);
        }
        if message.events.is_empty() && !message.fragment && self.partial.is_empty() {
            return Ok(self.reach(revision(message.header.unwrap_or_default().revision)));
        }
        let mut last = self.partial.last().map_or(0, |e| e.revision);
        for raw in message.events {
            let Some(kv) = &raw.kv else { continue };
            let at = revision(kv.mod_revision);
            last = last.max(at);
            if at >= self.next && !is_mark(&kv.key) {
                self.partial.push(event(keys, raw)?);
            }
        }
        if message.fragment {
            return Ok(Step::Nothing);
        }
        let reach = self.reach(last);
        match std::mem::take(&mut self.partial) {
            none if none.is_empty() => Ok(reach),
            events => Ok(Step::Events(events)),
        }
    }

    fn reach(&mut self, at: Revision) -> Step {
        if at <= self.reached {
            return Step::Nothing;
        }
        self.reached = at;
        self.next = self.next.max(at + 1);
        Step::Progress(at)
    }
}

/// etcd leaves out the state before when that has been compacted: the reader has been too slow to be told the truth.
fn event(keys: &Keys, raw: Raw) -> Result<Event, StoreError> {
    let deleted = raw.r#type() == EventType::Delete;
    let kv = raw.kv.unwrap_or_default();
    let at = revision(kv.mod_revision);
    let created = !deleted && kv.create_revision == kv.mod_revision;
    let previous = raw.prev_kv.map(|kv| keys.record(kv));
    if previous.is_none() && !created {
        return Err(StoreError::Compacted { asked: at, oldest: at + 1 });
    }
    Ok(Event { revision: at, previous, current: (!deleted).then(|| keys.record(kv)) })
}

#[cfg(test)]
mod tests {
    use super::super::super::proto::{KeyValue, ResponseHeader};
    use super::*;

    fn kv(key: &str, created: i64, modified: i64) -> KeyValue {
        let key = bytes::Bytes::copy_from_slice(key.as_bytes());
        KeyValue { key, create_revision: created, mod_revision: modified, ..KeyValue::default() }
    }

    fn put(key: &str, at: i64) -> Raw {
        Raw { r#type: EventType::Put.into(), kv: Some(kv(key, at, at)), prev_kv: None }
    }

    fn message(at: i64, events: Vec<Raw>) -> WatchResponse {
        let header = Some(ResponseHeader { revision: at, ..ResponseHeader::default() });
        WatchResponse { header, events, ..WatchResponse::default() }
    }

    fn show(step: Result<Step, StoreError>) -> String {
        match step {
            Ok(Step::Nothing) => "nothing".to_owned(),
            Ok(Step::Events(events)) => {
                events.iter().map(|e| format!("{}@{}", e.key(), e.revision)).collect::<Vec<_>>().join(" ")
            }
            Ok(Step::Progress(at)) => format!("progress {at}"),
            Ok(Step::Ended(why)) => format!("ended: {why}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn fragments_make_one_message_and_marks_are_progress() {
        let keys = Keys::new("/registry");
        let mut gather = Gather::new(5);
        let mut take = |message| show(gather.take(&keys, message));
        assert_eq!(take(WatchResponse { created: true, ..message(9, vec![]) }), "nothing");
        assert_eq!(take(WatchResponse { fragment: true, ..message(6, vec![put("/a", 5), put("/b", 6)]) }), "nothing");
        assert_eq!(take(message(6, vec![put("/c", 6)])), "/a@5 /b@6 /c@6");
        assert_eq!(take(message(6, vec![put("/a", 5)])), "nothing", "told before");
        assert_eq!(take(message(8, vec![put("/watched/", 8)])), "progress 8");
        assert_eq!(take(message(8, vec![])), "nothing");
        assert_eq!(take(message(11, vec![])), "progress 11");
        assert_eq!((gather.next, gather.reached), (12, 11));
    }

    #[test]
    fn half_a_message_is_forgotten_with_its_stream() {
        let keys = Keys::new("/registry");
        let mut gather = Gather::new(5);
        let half = WatchResponse { fragment: true, ..message(6, vec![put("/a", 6)]) };
        assert_eq!(show(gather.take(&keys, half)), "nothing");
        assert_eq!((gather.next, gather.reached), (5, 0));
        gather.restart();
        assert_eq!(show(gather.take(&keys, message(6, vec![put("/a", 6), put("/b", 6)]))), "/a@6 /b@6");
    }

    #[test]
    fn history_that_is_gone_ends_the_watch() {
        let keys = Keys::new("/registry");
        let gone = WatchResponse { canceled: true, compact_revision: 40, ..message(50, vec![]) };
        let told = show(Gather::new(5).take(&keys, gone));
        assert_eq!(told, "revision 5 has been compacted; history begins at 40");
        let unexplained = Raw { kv: Some(kv("/a", 2, 6)), ..put("/a", 6) };
        assert!(show(Gather::new(5).take(&keys, message(6, vec![unexplained]))).contains("compacted"));
        let ended =
            WatchResponse { canceled: true, cancel_reason: "etcdserver: no leader".into(), ..message(6, vec![]) };
        assert_eq!(show(Gather::new(5).take(&keys, ended)), "ended: etcdserver: no leader");
    }

    #[test]
    fn a_watch_from_the_future_keeps_its_beginning() {
        let keys = Keys::new("/registry");
        let mut gather = Gather::new(20);
        assert_eq!(show(gather.take(&keys, message(10, vec![]))), "progress 10");
        assert_eq!(gather.next, 20);
    }
}
