//! How many seats a request takes (apiserver `util/flowcontrol/request`): lists by the bytes they hold in memory,
//! writes by the watches that will be told.

use super::queueset::Work;
use super::seat_seconds::SeatSeconds;
use crate::context::RequestInfo;
use crate::registry::options::{ListOptions, Query};
use std::time::Duration;

const BYTES_PER_SEAT: usize = 100_000;
/// Lists from the cache go out in pieces, and hold no more than this at once.
const STREAMED: usize = 1_000_000;
const MOST_FOR_LIST: usize = 100;
const MOST_FOR_WRITE: usize = 10;
const WATCHES_PER_SEAT: usize = 10;
/// How long telling a seat's worth of watches about an event takes.
const TELLING: Duration = Duration::from_millis(5);

/// What is stored of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Objects.
    pub(crate) objects: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

impl Stored {
    /// The bytes of an average object, scaled to so many.
    fn bytes_of(self, objects: usize) -> usize {
        self.bytes.checked_div(self.objects).unwrap_or_default().saturating_mul(objects)
    }
}

/// The work of a list, or of what a watch begins with; `stored` none: not a resource of ours. `most` bounds
/// requests of the level, 0: it doesn't.
pub(crate) fn list(info: &RequestInfo, stored: Option<Stored>, most: usize) -> Work {
    let most = bound(most, MOST_FOR_LIST);
    let query = Query::parse(&info.query);
    let watch = info.verb == "watch";
    let Ok(options) = ListOptions::parse(&query, watch) else {
        // Destined to fail; upstream makes it expensive.
        return Work::of(most);
    };
    let from_start = matches!(options.resource_version.as_str(), "" | "0");
    if watch && options.initial_events != Some(true) && !from_start {
        return Work::of(1);
    }
    let Some(stored) = stored else { return Work::of(1) };
    let limited = if options.limit > 0 { options.limit.min(stored.objects) } else { stored.objects };
    let cached = watch || is_cached(&options);
    let selective = !options.field_selector.is_empty() || !options.label_selector.is_empty();
    let objects = match info.name.is_empty() {
        false => 1,
        true if !cached && selective => limited.max(stored.objects / 2),
        true => limited,
    };
    let bytes = stored.bytes_of(objects).min(if cached { STREAMED } else { usize::MAX });
    Work::of(bytes.div_ceil(BYTES_PER_SEAT).clamp(1, most))
}

/// Whether upstream reads a list from its watch cache rather than from the store.
fn is_cached(options: &ListOptions) -> bool {
    match options.version_match.as_str() {
        "NotOlderThan" => true,
        "" => {
            let exact = options.limit > 0 && !matches!(options.resource_version.as_str(), "" | "0");
            options.continue_.is_empty() && !exact
        }
        _ => false,
    }
}

/// The work of a write that so many watches are interested in.
pub(crate) fn write(info: &RequestInfo, watches: usize, most: usize) -> Work {
    let tells_nobody = info.resource == "serviceaccounts" && info.subresource == "token";
    if tells_nobody || watches < WATCHES_PER_SEAT {
        return Work::of(1);
    }
    let wanted = watches.div_ceil(WATCHES_PER_SEAT);
    // The same work by fewer seats takes longer.
    let final_seats = wanted.min(bound(most, MOST_FOR_WRITE));
    Work { seats: 1, final_seats, linger: SeatSeconds::of(wanted, TELLING).per_seat(final_seats) }
}

fn bound(most: usize, otherwise: usize) -> usize {
    if most == 0 { otherwise } else { most.min(otherwise) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(verb: &str, name: &str, query: &str) -> RequestInfo {
        let (verb, name, query) = (verb.to_owned(), name.to_owned(), query.to_owned());
        RequestInfo { is_resource: true, verb, name, query, ..RequestInfo::default() }
    }

    #[test]
    fn lists_cost_what_they_hold() {
        let stored = |objects, bytes| Some(Stored { objects, bytes });
        for (verb, name, query, stored, most, seats) in [
            ("list", "", "", stored(0, 0), 0, 1),
            ("list", "", "", stored(50, 50_000), 0, 1),
            ("list", "", "", stored(500, 500_000), 0, 5),
            ("list", "", "", stored(500, 500_000), 3, 3),
            ("list", "", "", stored(50_000, 50_000_000), 0, 10),
            ("list", "", "limit=200", stored(50_000, 50_000_000), 0, 2),
            ("list", "p", "fieldSelector=metadata.name%3Dp", stored(50_000, 50_000_000), 0, 1),
            ("list", "", "limit=500&continue=abc", stored(50_000, 50_000_000), 0, 5),
            ("list", "", "continue=abc", stored(50_000, 50_000_000), 0, 100),
            ("list", "", "limit=1&continue=abc&labelSelector=a", stored(50_000, 5_000_000), 0, 25),
            ("list", "", "limit=x", stored(50, 50), 0, 100),
            ("list", "", "", None, 0, 1),
            ("watch", "", "watch=1&resourceVersion=5", stored(50_000, 50_000_000), 0, 1),
            ("watch", "", "watch=1", stored(50_000, 50_000_000), 0, 10),
            (
                "watch",
                "",
                "watch=1&resourceVersion=5&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
                stored(50_000, 50_000_000),
                0,
                10,
            ),
        ] {
            assert_eq!(list(&info(verb, name, query), stored, most), Work::of(seats), "{verb} {query} {stored:?}");
        }
    }

    #[test]
    fn writes_cost_what_their_watchers_do() {
        let pods = info("create", "", "");
        assert_eq!(write(&pods, 9, 0), Work::of(1));
        assert_eq!(write(&pods, 25, 0), Work { seats: 1, final_seats: 3, linger: TELLING });
        assert_eq!(write(&pods, 400, 0), Work { seats: 1, final_seats: 10, linger: 4 * TELLING });
        assert_eq!(write(&pods, 400, 4), Work { seats: 1, final_seats: 4, linger: 10 * TELLING });
        let token = RequestInfo { resource: "serviceaccounts".into(), subresource: "token".into(), ..pods };
        assert_eq!(write(&token, 400, 0), Work::of(1));
    }
}
