//! LIST: from the cache where it shows the revision asked for, else from the store's history.

use super::options::ListOptions;
use super::{Scope, Selection};
use crate::cache::{Entry, store_status};
use crate::spans::{self, Span, event, event_with, number, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kaji_api::{Status, Value, codec, field::quoted, value};
use kaji_store::{Revision, StoreError};
use std::sync::Arc;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
                       a new list without the continue parameter";

/// A (part of a) list.
pub(crate) struct Listed {
    /// In key order.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The revision they show.
    pub(crate) revision: Revision,
    /// Token for the rest, or empty.
    pub(crate) continue_: String,
    /// How many the rest holds, where it is known.
    pub(crate) remaining: Option<usize>,
}

/// Where a list starts and what it shows.
struct Start {
    from: String,
    /// Exactly this revision; none: the cache's.
    at: Option<Revision>,
}

impl Scope<'_> {
    /// The selected objects.
    pub(crate) async fn list(&self, options: &ListOptions, selection: &Selection) -> Result<Listed, Status> {
        spans::within(self.span("cacher.GetList"), self.list_now(options, selection)).await
    }

    /// The span of a look at the cache.
    pub(super) fn span(&self, name: &str) -> Option<Arc<Span>> {
        spans::child(name, |facts| {
            vec![text("audit-id", facts.audit_id.as_str()), text("type", self.resource().to_string())]
        })
    }

    async fn list_now(&self, options: &ListOptions, selection: &Selection) -> Result<Listed, Status> {
        let prefix = self.cache.scope(match self.namespace {
            "" => selection.namespace().unwrap_or_default(),
            namespace => namespace,
        });
        let start = self.start(options, &prefix).await?;
        event("Ready");
        if let (None, true, Some(name)) = (start.at, start.from == prefix, selection.name())
            && (!self.stored.namespaced || prefix != self.cache.root)
        {
            return self.only(&format!("{prefix}{name}"), selection).await;
        }
        let (entries, revision) = self.read(&prefix, &start, options).await?;
        event_with("Listed items from cache", || vec![number("count", entries.len())]);
        selection.prepare(&entries).await?;
        let listed = self.cut(entries, revision, &prefix, options, selection);
        event_with("Filtered items", || vec![number("count", listed.entries.len())]);
        Ok(listed)
    }

    /// The list of the one object that can be selected.
    async fn only(&self, key: &str, selection: &Selection) -> Result<Listed, Status> {
        let snapshot = self.cache.snapshot_one(key);
        let revision = snapshot.revision;
        selection.prepare(&snapshot.entries).await?;
        let entry = snapshot.entries.into_iter().find(|e| selection.matches(&self.stored, e));
        Ok(Listed { entries: entry.into_iter().collect(), revision, continue_: String::new(), remaining: None })
    }

    async fn start(&self, options: &ListOptions, prefix: &str) -> Result<Start, Status> {
        let caches = self.api.caches();
        if !options.continue_.is_empty() {
            let (from, revision) = decode_continue(&options.continue_, prefix)?;
            if !matches!(options.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            caches.fresh().await?;
            return Ok(Start { from, at: u64::try_from(revision).ok() });
        }
        let from = prefix.to_owned();
        match options.resource_version.as_str() {
            "" => drop(caches.fresh().await?),
            "0" => {}
            text => {
                let revision = parse_revision(text)?;
                caches.reach(revision).await?;
                // A limit with a revision but no rule means exactly that revision: API concepts, "Resource versions".
                let exact = options.version_match == "Exact" || (options.version_match.is_empty() && options.limit > 0);
                return Ok(Start { from, at: exact.then_some(revision) });
            }
        }
        Ok(Start { from, at: None })
    }

    async fn read(
        &self,
        prefix: &str,
        start: &Start,
        options: &ListOptions,
    ) -> Result<(Vec<Arc<Entry>>, Revision), Status> {
        let snapshot = self.cache.snapshot(prefix, &start.from);
        let Some(at) = start.at else { return Ok((snapshot.entries, snapshot.revision)) };
        let changed = self.cache.last_change();
        let read = if (1..=at).contains(&changed) && at <= snapshot.revision {
            // Nothing of this resource changed since: the cache shows that revision, too. It expires with the others.
            self.api.caches().remembers(prefix, at).await.map(|()| snapshot.entries)
        } else {
            self.api.caches().at(&self.cache, prefix, &start.from, at).await
        };
        match read {
            Ok(entries) => Ok((entries, at)),
            Err(StoreError::Compacted { .. }) => Err(expired(options, prefix, &start.from, at)),
            Err(other) => Err(store_status(other)),
        }
    }

    fn cut(
        &self,
        entries: Vec<Arc<Entry>>,
        revision: Revision,
        prefix: &str,
        options: &ListOptions,
        selection: &Selection,
    ) -> Listed {
        let name_only = selection.name();
        let limit = if options.resource_version == "0" { 0 } else { options.limit };
        let total = entries.len();
        let mut seen = 0;
        let mut kept = Vec::with_capacity(if limit == 0 { total } else { limit.min(total) });
        for entry in entries {
            if limit > 0 && kept.len() == limit {
                break;
            }
            seen += 1;
            let named = name_only.is_none_or(|name| entry.key.ends_with(name));
            if named && (selection.is_everything() || selection.matches(&self.stored, &entry)) {
                kept.push(entry);
            }
        }
        let more = total - seen;
        let continue_ = match (more, kept.last()) {
            (1.., Some(last)) => encode_continue(&format!("{}\0", &last.key[prefix.len()..]), revision.cast_signed()),
            _ => String::new(),
        };
        let remaining = (more > 0 && selection.is_everything()).then_some(more);
        Listed { entries: kept, revision, continue_, remaining }
    }
}

/// A resourceVersion of a request.
pub(super) fn parse_revision(text: &str) -> Result<Revision, Status> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {0}: strconv.ParseUint: parsing {0}: invalid \
             syntax",
            quoted(text)
        ))
    })
}

pub(super) fn encode_continue(start: &str, revision: i64) -> String {
    let token = value!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
    let mut json = Vec::new();
    codec::write_json(&token, &mut json);
    URL_SAFE_NO_PAD.encode(json)
}

/// Start key and revision of a token; a negative revision: the newest.
pub(super) fn decode_continue(token: &str, prefix: &str) -> Result<(String, i64), Status> {
    let bad = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid{why}"));
    let json = URL_SAFE_NO_PAD.decode(token).map_err(|e| bad(&format!(": {e}")))?;
    let token: Value = codec::parse_json(&json).map_err(|e| bad(&format!(": {e}")))?;
    if token["v"].str() != "meta.k8s.io/v1" {
        return Err(bad(&format!(": server does not recognize this encoded version {}", token["v"].str())));
    }
    let revision = token["rv"].as_i64().unwrap_or(0);
    if revision == 0 {
        return Err(bad(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    let start = token["start"].str();
    if start.is_empty() {
        return Err(bad(": encoded start key empty (version meta.k8s.io/v1)"));
    }
    if start.starts_with('/') || start.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad(&format!(": {start}")));
    }
    Ok((format!("{prefix}{start}"), revision))
}

/// 410, with a token to go on inconsistently when the list had begun.
fn expired(options: &ListOptions, prefix: &str, from: &str, at: Revision) -> Status {
    if options.continue_.is_empty() {
        return Status::expired(format!("The resourceVersion for the provided list is too old: {at}"));
    }
    let mut status = Status::expired(format!(
        "{TOO_OLD}, or use the continue token in this response to retrieve the remainder of the results. Continuing \
         with the provided token results in an inconsistent list - objects that were created, modified, or deleted \
         between the time the first chunk was returned and now may show up in the list."
    ));
    // Carried in the list metadata of the Status; the encoder puts it there.
    status.details = value!({"continue": (encode_continue(&from[prefix.len()..], -1))});
    status
}
