//! Events end by themselves an hour after their last write (upstream `--event-ttl`).
//!
//! One task follows the cache of events and sleeps until the next one is due; it holds one deadline per event
//! there is. After a restart an event's age is what its own times say, beside those of the newest one: a clock that has
//! jumped ahead ends none.

use super::Scope;
use super::options::DeleteOptions;
use crate::cache::{Cache, Change, ChangeKind, Cursor, Cut, Snapshot};
use crate::context::{RequestContext, Target};
use crate::server::Api;
use kaji_api::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an event stays.
pub(crate) const EVENT_TTL: Duration = Duration::from_secs(3600);
/// When to try again what could not be deleted.
const RETRY: Duration = Duration::from_secs(60);

/// Ends events until the server has stopped.
pub(crate) async fn run(api: Api, ttl: Duration) {
    let Some(cache) = api.caches().get("events") else { return };
    loop {
        tokio::select! {
            () = api.stopped().cancelled() => return,
            Cut = follow(&api, &cache, ttl) => tracing::debug!("starting over with the deadlines of events"),
        }
    }
}

async fn follow(api: &Api, cache: &Arc<Cache>, ttl: Duration) -> Cut {
    let (snapshot, mut cursor) = cache.snapshot_and_follow(&cache.root);
    let mut due = Due::of(snapshot, ttl);
    loop {
        if let Err(cut) = step(api, cache, &mut cursor, &mut due, ttl).await {
            return cut;
        }
    }
}

async fn step(api: &Api, cache: &Cache, cursor: &mut Cursor, due: &mut Due, ttl: Duration) -> Result<(), Cut> {
    let next = due.next();
    tokio::select! {
        changes = cursor.next() => changes?.iter().for_each(|change| due.learn(change, ttl)),
        () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
            for key in due.take(Instant::now()) {
                if !expire(api, cache, &key).await {
                    due.set(key, Instant::now() + RETRY);
                }
            }
        }
    }
    Ok(())
}

/// Deletes an event; gone already is as good.
async fn expire(api: &Api, cache: &Cache, key: &str) -> bool {
    let Some(entry) = cache.get(key) else { return true };
    let (namespace, name) = entry.names(&cache.row);
    let cx = RequestContext::system();
    let target = Target { resource: cache.row.clone(), sub: None };
    let Some(scope) = Scope::new(api, &cx, &target, namespace, name) else { return true };
    let options = DeleteOptions { resource_version: Some(entry.revision.to_string()), ..DeleteOptions::default() };
    match scope.delete(&options).await {
        Ok(_) => true,
        // Written meanwhile: its change brings a new deadline.
        Err(status) if matches!(status.code, 404 | 409) => true,
        Err(status) => {
            tracing::warn!(key, %status, "could not end an old event");
            false
        }
    }
}

/// When each event ends.
#[derive(Default)]
struct Due {
    by_key: HashMap<String, Instant>,
    order: BTreeSet<(Instant, String)>,
}

impl Due {
    fn of(snapshot: Snapshot, ttl: Duration) -> Self {
        let mut due = Due::default();
        let (now, wall) = (Instant::now(), jiff::Timestamp::now());
        let times = snapshot.entries.iter().map(|entry| (entry.key.clone(), written(&entry.decode())));
        let times: Vec<(String, Option<jiff::Timestamp>)> = times.collect();
        let newest = times.iter().filter_map(|(_, time)| *time).max().map_or(wall, |newest| newest.min(wall));
        for (key, time) in times {
            due.set(key, now + ttl.saturating_sub(age(time, newest)));
        }
        due
    }

    fn learn(&mut self, change: &Change, ttl: Duration) {
        match change.kind {
            ChangeKind::Put => self.set(change.entry.key.clone(), Instant::now() + ttl),
            ChangeKind::Delete => self.remove(&change.entry.key),
        }
    }

    fn set(&mut self, key: String, at: Instant) {
        self.remove(&key);
        self.order.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out what is due.
    fn take(&mut self, now: Instant) -> Vec<String> {
        let keys: Vec<String> = self.order.iter().take_while(|(at, _)| *at <= now).map(|(_, k)| k.clone()).collect();
        keys.iter().for_each(|key| self.remove(key));
        keys
    }
}

/// When an event says it was last written.
fn written(event: &Value) -> Option<jiff::Timestamp> {
    let times = [
        event.meta("creationTimestamp"),
        event["lastTimestamp"].str(),
        event["eventTime"].str(),
        event["series"]["lastObservedTime"].str(),
    ];
    times.into_iter().filter_map(|t| t.parse::<jiff::Timestamp>().ok()).max()
}

/// How long that is ago; an event without times is new.
fn age(time: Option<jiff::Timestamp>, now: jiff::Timestamp) -> Duration {
    time.and_then(|time| Duration::try_from(now.duration_since(time)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn an_event_is_as_old_as_its_newest_time() {
        let now: jiff::Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let event = value!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": "2026-01-01T00:30:00Z"});
        assert_eq!(age(written(&event), now), Duration::from_secs(1800));
        assert_eq!(age(written(&Value::object()), now), Duration::ZERO);
        let ahead = value!({"metadata": {"creationTimestamp": "2027-01-01T00:00:00Z"}});
        assert_eq!(age(written(&ahead), now), Duration::ZERO);
    }

    #[test]
    fn deadlines_move_and_go() {
        let (mut due, now) = (Due::default(), Instant::now());
        let after = |s| now + Duration::from_secs(s);
        due.set("a".to_owned(), after(1));
        due.set("b".to_owned(), after(2));
        due.set("a".to_owned(), after(3));
        assert_eq!(due.next(), Some(after(2)));
        assert_eq!(due.take(after(2)), ["b"]);
        due.remove("a");
        assert_eq!(due.next(), None);
        assert!(due.by_key.is_empty());
    }
}
