//! Certificate signing requests: approves kubelets' client certificates, signs what is approved, and removes old
//! requests (upstream `pkg/controller/certificates`).

mod request;

use crate::Context;
use crate::context::enqueue;
use crate::write::gone_is_fine;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest as Csr, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kaji_pki::{Authority, Certificate, PkiError, Request, decode_request};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use request::{KUBELET_CLIENT, check, check_kubelet_client, has_condition, lifetime};
use std::sync::Arc;
use std::time::Duration;

/// Requests stay this long after they were answered, or made.
const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Why a request was not dealt with.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("unable to parse csr {name:?}")]
    Parse {
        name: String,
        #[source]
        cause: PkiError,
    },
    #[error("could not sign csr {name:?}")]
    Sign {
        name: String,
        #[source]
        cause: PkiError,
    },
}

/// Approves client certificates of kubelets that may have them.
pub(crate) async fn run_approver(cx: Context) {
    run_each("certificate approver", cx, |cx, csr| async move { approve(&cx, &csr).await }).await;
}

/// Signs what is approved.
pub(crate) async fn run_signer(cx: Context) {
    let Some((certificate, key)) = &cx.config.signing_ca else { return std::future::pending().await };
    let authority = match Authority::from_pem(certificate, key) {
        Ok(authority) => Arc::new(authority),
        Err(error) => {
            tracing::error!(%error, "the signing authority is unusable; nothing will be signed");
            return std::future::pending().await;
        }
    };
    run_each("certificate signer", cx, move |cx, csr| {
        let authority = authority.clone();
        async move { sign(&cx, &authority, &csr).await }
    })
    .await;
}

/// Removes old requests.
pub(crate) async fn run_cleaner(cx: Context) {
    run_each("certificate cleaner", cx, |cx, csr| async move { clean(&cx, &csr).await }).await;
}

async fn run_each<F, Fut>(name: &'static str, cx: Context, each: F)
where
    F: Fn(Context, Arc<Csr>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let queue = WorkQueue::new();
    let requests: Arc<Informer<Csr>> = cx.informer();
    enqueue(&requests, &queue);
    requests.synced().await;
    let each = Arc::new(each);
    let work = move |key: ObjectKey| {
        let (cx, each, found) = (cx.clone(), each.clone(), requests.get(&key));
        async move {
            match found {
                Some(csr) => each(cx, csr).await,
                None => Ok(Next::Done),
            }
        }
    };
    queue.run(name, 1, work).await;
}

fn name_of(csr: &Csr) -> &str {
    csr.metadata.name.as_deref().unwrap_or_default()
}

fn parse(csr: &Csr) -> Result<Request, Error> {
    let pem = String::from_utf8_lossy(&csr.spec.request.0);
    decode_request(&pem).map_err(|cause| Error::Parse { name: name_of(csr).to_owned(), cause })
}

fn is_signed(csr: &Csr) -> bool {
    csr.status.as_ref().and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty())
}

fn condition(kind: &str, reason: &str, message: &str) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(Timestamp::now())),
        ..CertificateSigningRequestCondition::default()
    }
}

async fn approve(cx: &Context, csr: &Csr) -> Result<Next, Error> {
    let answered = is_signed(csr) || has_condition(csr, "Approved") || has_condition(csr, "Denied");
    if answered || csr.spec.signer_name != KUBELET_CLIENT {
        return Ok(Next::Done);
    }
    let asked = parse(csr)?;
    if check_kubelet_client(&csr.spec, &asked).is_err() {
        return Ok(Next::Done);
    }
    let is_self = csr.spec.username.as_deref() == Some(asked.subject.common_name.as_str());
    let ways = [
        ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
        ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
    ];
    for (subresource, message) in ways.into_iter().skip(usize::from(!is_self)) {
        if may(cx, csr, subresource).await? {
            let mut after = csr.clone();
            let approved = condition("Approved", "AutoApproved", message);
            after.status.get_or_insert_default().conditions.get_or_insert_default().push(approved);
            let api: Api<Csr> = Api::all(cx.client.clone());
            gone_is_fine(api.replace_subresource("approval", name_of(csr), &PostParams::default(), &after).await)?;
            return Ok(Next::Done);
        }
    }
    Ok(Next::Done)
}

/// Whether the requester may have such a certificate without being asked.
async fn may(cx: &Context, csr: &Csr, subresource: &str) -> Result<bool, kube::Error> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: csr.spec.username.clone(),
            uid: csr.spec.uid.clone(),
            groups: csr.spec.groups.clone(),
            extra: csr.spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                version: Some("*".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                subresource: Some(subresource.to_owned()),
                verb: Some("create".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(cx.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

async fn sign(cx: &Context, authority: &Authority, csr: &Csr) -> Result<Next, Error> {
    let approved = has_condition(csr, "Approved") && !has_condition(csr, "Denied") && !has_condition(csr, "Failed");
    if is_signed(csr) || !approved {
        return Ok(Next::Done);
    }
    let asked = parse(csr)?;
    let Some(checked) = check(&csr.spec, &asked) else { return Ok(Next::Done) };
    let mut after = csr.clone();
    let status = after.status.get_or_insert_default();
    match checked {
        Err(words) => {
            let failed = condition("Failed", "SignerValidationFailure", &words);
            status.conditions.get_or_insert_default().push(failed);
        }
        Ok(usage) => {
            let certificate = Certificate {
                subject: asked.subject,
                dns: asked.dns,
                ips: asked.ips,
                usage,
                lifetime: lifetime(&csr.spec),
            };
            let pem = authority.issue(&certificate, asked.public);
            let pem = pem.map_err(|cause| Error::Sign { name: name_of(csr).to_owned(), cause })?;
            status.certificate = Some(ByteString(pem.into_bytes()));
        }
    }
    let api: Api<Csr> = Api::all(cx.client.clone());
    gone_is_fine(api.replace_status(name_of(csr), &PostParams::default(), &after).await)?;
    Ok(Next::Done)
}

async fn clean(cx: &Context, csr: &Csr) -> Result<Next, Error> {
    let left = left(csr, Timestamp::now());
    if left.is_zero() {
        let api: Api<Csr> = Api::all(cx.client.clone());
        gone_is_fine(api.delete(name_of(csr), &DeleteParams::default()).await)?;
        return Ok(Next::Done);
    }
    Ok(Next::After(left))
}

/// How long a request may stay.
fn left(csr: &Csr, now: Timestamp) -> Duration {
    let conditions = csr.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let answered = conditions.filter_map(|c| c.last_update_time.as_ref()).map(|t| t.0).min();
    let created = csr.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let end = answered.map_or(created + PENDING, |at| at + ANSWERED);
    end.duration_since(now).max(SignedDuration::ZERO).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_requests_go_sooner() {
        let csr = |status: serde_json::Value| -> Csr {
            let json = serde_json::json!({"metadata": {"name": "r", "creationTimestamp": "1970-01-01T00:00:00Z"},
                "spec": {"request": "", "signerName": "x"}, "status": status});
            serde_json::from_value(json).unwrap()
        };
        let now = Timestamp::from_second(60).unwrap();
        assert_eq!(left(&csr(serde_json::json!({})), now).as_secs(), 24 * 3600 - 60);
        let answered = serde_json::json!({"conditions": [{"type": "Approved", "status": "True", "lastUpdateTime": "1970-01-01T00:00:30Z"}]});
        assert_eq!(left(&csr(answered), now).as_secs(), 3600 - 30);
    }
}
