//! Outcomes of writes that every controller treats alike.

/// Another made it first: as good as done by us.
pub(crate) fn exists_is_fine<K>(outcome: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        other => other.map(drop),
    }
}

/// It is gone: as good as removed by us.
pub(crate) fn gone_is_fine<K>(outcome: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// The namespace is being emptied: nothing can be made there any more.
pub(crate) fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403
        && status.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating")))
}

/// The server's words about a failed request, as they go into events and conditions.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Calls a future maker `count` times: one at first, then twice as many at a time as long as all succeed.
/// Gives the number of successes, and the first error.
pub(crate) async fn slow_start<T, E, Fut>(count: usize, make: impl Fn(usize) -> Fut) -> (usize, Option<E>)
where
    Fut: Future<Output = Result<T, E>>,
{
    let (mut started, mut batch, mut succeeded) = (0, 1, 0);
    while started < count {
        let size = batch.min(count - started);
        let outcomes = futures::future::join_all((started..started + size).map(&make)).await;
        started += size;
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok(_) => succeeded += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if failure.is_some() {
            return (succeeded, failure);
        }
        batch *= 2;
    }
    (succeeded, None)
}
