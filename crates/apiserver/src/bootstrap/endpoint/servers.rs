//! Which API servers there are: each keeps a key of its own in the shared store fresh.
//!
//! A key counts as fresh while its revision changes, by this server's own clock: clocks that differ do no harm.
//! Upstream's lease reconciler has the same keys and times, with leases of etcd's.

use crate::cache::store_status;
use crate::server::Api;
use kaji_api::Status;
use kaji_store::{Change, Expect, Range, Record, Revision};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often a server renews its key.
pub(super) const RENEW: Duration = Duration::from_secs(10);
/// How long a key may stay as it is.
const EXPIRE: Duration = Duration::from_secs(15);
const PREFIX: &str = "/registry/masterleases/";

/// What one server has seen of all.
#[derive(Default)]
pub(super) struct Servers {
    seen: HashMap<IpAddr, (Revision, Instant)>,
}

impl Servers {
    /// Renews this server's key; all that are alive, in order. Keys of dead ones are removed.
    pub(super) async fn renew(&mut self, api: &Api, own: IpAddr) -> Result<Vec<IpAddr>, Status> {
        let store = api.caches().store();
        let renewed = Change::Put(key(own), own.to_string().into());
        store.commit(Vec::new(), vec![renewed]).await.map_err(store_status)?;
        let records = store.range(Range::prefix(PREFIX)).await.map_err(store_status)?.records;
        let (alive, dead) = self.sort(&records, Instant::now());
        for record in dead {
            // Not if it has come back just now.
            let expect = vec![Expect { key: record.key.clone(), mod_revision: record.mod_revision }];
            store.commit(expect, vec![Change::Delete(record.key.clone())]).await.map_err(store_status)?;
        }
        Ok(alive)
    }

    /// Removes this server's key; the others.
    pub(super) async fn leave(&mut self, api: &Api, own: IpAddr) -> Result<Vec<IpAddr>, Status> {
        let store = api.caches().store();
        store.commit(Vec::new(), vec![Change::Delete(key(own))]).await.map_err(store_status)?;
        let records = store.range(Range::prefix(PREFIX)).await.map_err(store_status)?.records;
        Ok(self.sort(&records, Instant::now()).0)
    }

    fn sort<'a>(&mut self, records: &'a [Record], now: Instant) -> (Vec<IpAddr>, Vec<&'a Record>) {
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for record in records {
            let Some(address) = record.key.strip_prefix(PREFIX).and_then(|a| a.parse::<IpAddr>().ok()) else {
                continue;
            };
            let last = self.seen.entry(address).or_insert((record.mod_revision, now));
            if last.0 != record.mod_revision {
                *last = (record.mod_revision, now);
            }
            match now - last.1 > EXPIRE {
                true => dead.push(record),
                false => alive.push(address),
            }
        }
        self.seen.retain(|address, _| alive.contains(address));
        alive.sort_unstable();
        (alive, dead)
    }
}

fn key(address: IpAddr) -> String {
    format!("{PREFIX}{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: &str, mod_revision: Revision) -> Record {
        let key = format!("{PREFIX}{address}");
        Record { key, value: address.to_owned().into(), create_revision: 1, mod_revision }
    }

    #[test]
    fn who_stops_renewing_is_dead() {
        let (mut servers, begun) = (Servers::default(), Instant::now());
        let mut at = |seconds, records: &[Record]| {
            let (alive, dead) = servers.sort(records, begun + Duration::from_secs(seconds));
            let shown: Vec<String> = alive.iter().map(ToString::to_string).collect();
            (shown.join(" "), dead.len())
        };
        let both = "10.0.0.1 10.0.0.2".to_owned();
        assert_eq!(at(0, &[record("10.0.0.2", 5), record("10.0.0.1", 4)]), (both.clone(), 0));
        assert_eq!(at(10, &[record("10.0.0.2", 5), record("10.0.0.1", 8)]), (both, 0));
        assert_eq!(at(20, &[record("10.0.0.2", 5), record("10.0.0.1", 9)]), ("10.0.0.1".to_owned(), 1));
    }
}
