//! What a failed call means: was it done, and what becomes of it.

use crate::{Revision, StoreError};
use tonic::{Code, Status};

/// Whether a call that failed may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was looked at and refused: another member would say the same.
    Refused,
    /// It was not carried out, for reasons of this member: another may.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// The fate of a call by its status.
///
/// Only what etcd says before it proposes a request to the cluster counts as not done. Its timeouts, "leader
/// changed" and "server stopped" come after that.
pub(super) fn fate(status: &Status) -> Fate {
    if never_sent(status) {
        return Fate::NotDone;
    }
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        Code::Unavailable if says("etcdserver: no leader") || says("etcdserver: rpc not supported for learner") => {
            Fate::NotDone
        }
        Code::ResourceExhausted if says("etcdserver: too many requests") => Fate::NotDone,
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::FailedPrecondition
        | Code::NotFound => Fate::Refused,
        _ => Fate::Unknown,
    }
}

/// Whether there was no connection to send the call on.
fn never_sent(status: &Status) -> bool {
    let first = std::error::Error::source(status);
    std::iter::successors(first, |error| error.source()).any(|error| error.is::<tonic::ConnectError>())
}

/// A refusal as the store's error. `asked`: the revision the call named.
pub(super) fn refused(what: &str, asked: Revision, status: Status) -> StoreError {
    let says = |text: &str| status.message().contains(text);
    if says("required revision has been compacted") {
        return StoreError::Compacted { asked, oldest: asked + 1 };
    }
    if says("required revision is a future revision") {
        return StoreError::Future { asked, current: 0 };
    }
    if says("database space exceeded") {
        return StoreError::Full { dir: "etcd's database".to_owned() };
    }
    StoreError::Failed { context: format!("etcd refused to {what}: {}", status.message()), cause: Box::new(status) }
}

/// No member could be asked.
pub(super) fn unreachable(what: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Failed { context: format!("could not {what}: no etcd member answers"), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates() {
        let table = [
            (Status::unavailable("etcdserver: no leader"), Fate::NotDone),
            (Status::unavailable("etcdserver: request timed out"), Fate::Unknown),
            (Status::unavailable("etcdserver: leader changed"), Fate::Unknown),
            (Status::unavailable("error reading a body from connection"), Fate::Unknown),
            (Status::unknown("raft proposal dropped"), Fate::Unknown),
            (Status::cancelled("Timeout expired"), Fate::Unknown),
            (Status::deadline_exceeded(""), Fate::Unknown),
            (Status::resource_exhausted("etcdserver: too many requests"), Fate::NotDone),
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Fate::Refused),
            (Status::invalid_argument("etcdserver: request is too large"), Fate::Refused),
            (Status::out_of_range("etcdserver: mvcc: required revision has been compacted"), Fate::Refused),
            (Status::permission_denied("etcdserver: permission denied"), Fate::Refused),
        ];
        for (status, expected) in table {
            assert_eq!(fate(&status), expected, "{status}");
        }
    }

    #[test]
    fn refusals_keep_their_meaning() {
        let compacted = Status::out_of_range("etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(refused("read", 7, compacted), StoreError::Compacted { asked: 7, .. }));
        let future = Status::out_of_range("etcdserver: mvcc: required revision is a future revision");
        assert!(matches!(refused("read", 7, future), StoreError::Future { asked: 7, .. }));
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        assert!(matches!(refused("write", 0, full), StoreError::Full { .. }));
        let denied = refused("write", 0, Status::permission_denied("etcdserver: permission denied"));
        assert_eq!(denied.to_string(), "etcd refused to write: etcdserver: permission denied");
    }
}
