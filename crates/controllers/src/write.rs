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

/// The server's words for a failure.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A label selector of a typed object.
pub(crate) fn selector_of(
    selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
) -> kaji_api::selector::LabelSelector {
    let value = kaji_api::Value::from_view(selector).unwrap_or_default();
    // The server has validated it; what it refuses selects nothing.
    kaji_api::selector::LabelSelector::from_value(&value)
        .unwrap_or_else(|_| kaji_api::selector::LabelSelector::nothing())
}
