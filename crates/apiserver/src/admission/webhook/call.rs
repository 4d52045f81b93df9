//! One exchange with a webhook.

use super::hook::Hook;
use super::metrics::Kind;
use super::notes::{self, Place};
use super::review::{self, Response};
use super::shown::Shown;
use super::{asked, namespace, operation};
use crate::admission::Attributes;
use crate::remote::{Call, Remote, from_answer};
use crate::spans::{self, Span, text};
use kaji_api::Status;
use kaji_api::field::quoted;
use std::sync::Arc;
use std::time::{Duration, Instant};

const AGENT: &str = "kube-apiserver-admission";
/// Answers hold at most a patch of an object, in base64, and words.
const MOST: usize = 16 << 20;

/// Why a webhook did not say yes.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be asked, or its answer makes no sense: its failure policy decides.
    Calling {
        /// Why.
        why: String,
        /// For the metrics.
        code: u16,
    },
    /// It said no.
    Refused(Status),
    /// The request cannot be decided at all.
    Fatal(Status),
}

impl Failure {
    fn calling(code: u16, why: String) -> Self {
        Failure::Calling { why, code }
    }

    /// An answer that makes no sense.
    pub(super) fn invalid(why: String) -> Self {
        Failure::calling(503, why)
    }
}

/// Asks one webhook; warnings go to the client and annotations to the audit log whatever it says.
pub(super) async fn ask(hook: &Hook, a: &Attributes<'_>, shown: &Shown, kind: Kind) -> Result<Response, Failure> {
    let response = exchange(hook, a, shown, kind).await?;
    notes::returned(a, hook, &response.annotations);
    response.warnings.iter().for_each(|w| a.cx.warnings.add(w.as_str()));
    if response.allowed { Ok(response) } else { Err(Failure::Refused(review::refusal(&hook.name, &response.result))) }
}

async fn exchange(hook: &Hook, a: &Attributes<'_>, shown: &Shown, kind: Kind) -> Result<Response, Failure> {
    if a.cx.dry_run {
        match hook.takes_dry_runs() {
            Some(true) => {}
            Some(false) => {
                let text = format!("admission webhook {} does not support dry run", quoted(&hook.name));
                return Err(Failure::Fatal(Status::bad_request(text)));
            }
            None => return Err(Failure::calling(400, "Webhook SideEffects is nil".to_owned())),
        }
    }
    let Some(version) = hook.version else {
        let why =
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Failure::calling(400, why.to_owned()));
    };
    let remote = hook.remote.as_ref();
    let remote = remote.map_err(|why| Failure::calling(500, format!("could not get REST client: {why}")))?;
    let uid = uuid::Uuid::new_v4().to_string();
    let request = review::request(a, shown, version, &uid);
    let asked = async {
        let body = post(remote, limit(hook, a), request).await?;
        spans::event("Request completed");
        review::verify(version, &uid, kind == Kind::Mutating, &body)
            .map_err(|why| Failure::invalid(format!("received invalid webhook response: {why}")))
    };
    spans::within(span(hook, a, kind, &uid), asked).await
}

fn span(hook: &Hook, a: &Attributes<'_>, kind: Kind, uid: &str) -> Option<Arc<Span>> {
    let name = match kind {
        Kind::Mutating => "Call mutating webhook",
        Kind::Validating => "Call validating webhook",
    };
    spans::child(name, |_| {
        let row = asked(a);
        let about = [
            ("configuration", hook.configuration.as_str()),
            ("webhook", &hook.name),
            ("resource", &format!("{}/{}, Resource={}", row.group, row.version, row.plural)),
            ("subresource", a.target.sub.map_or("", |sub| sub.name)),
            ("operation", operation(a.operation)),
            ("UID", uid),
        ];
        about.map(|(key, value)| text(key, value)).into()
    })
}

async fn post(remote: &Remote, limit: Duration, body: bytes::Bytes) -> Result<bytes::Bytes, Failure> {
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    let query = format!("timeout={seconds}s");
    let call = Call { query: &query, agent: AGENT, limit, most: MOST };
    let failed = |code: u16, why: &str| Failure::calling(code, format!("failed to call webhook: {why}"));
    let (code, body) = remote.post(call, body).await.map_err(|error| failed(503, &error.to_string()))?;
    if (200..300).contains(&code) {
        return Ok(body);
    }
    let status = from_answer(code, &body);
    Err(failed(status.code, &status.message))
}

/// A webhook has its own time, within that of the request.
fn limit(hook: &Hook, a: &Attributes<'_>) -> Duration {
    let left = a.cx.deadline.map(|end| end.saturating_duration_since(Instant::now()));
    left.map_or(hook.timeout, |left| left.min(hook.timeout)).max(Duration::from_millis(1))
}

/// What becomes of the request. Counts, and says who blocks what.
pub(super) fn settle(
    hook: &Hook,
    a: &Attributes<'_>,
    kind: Kind,
    place: Place,
    took: Duration,
    outcome: Result<(), Failure>,
) -> Result<(), Status> {
    let metrics = &a.api.metrics().webhooks;
    let operation = operation(a.operation);
    let name = hook.name.as_str();
    match outcome {
        Ok(()) => {
            metrics.observe(name, kind, operation, took, false, 200);
            Ok(())
        }
        Err(Failure::Refused(status)) => {
            metrics.reject(name, kind, operation, "no_error", status.code);
            metrics.observe(name, kind, operation, took, true, status.code);
            Err(status)
        }
        Err(Failure::Fatal(status)) => {
            metrics.reject(name, kind, operation, "apiserver_internal_error", 0);
            metrics.observe(name, kind, operation, took, true, 0);
            Err(status)
        }
        Err(Failure::Calling { why, code }) => {
            metrics.observe(name, kind, operation, took, !hook.fails_open, code);
            let text = format!("failed calling webhook {}: {why}", quoted(name));
            remark(hook, a, &why);
            if hook.fails_open {
                metrics.fail_open(name, kind);
                notes::failed_open(a, hook, kind, place);
                return Ok(());
            }
            metrics.reject(name, kind, operation, "calling_webhook_error", code);
            Err(Status::internal(text))
        }
    }
}

/// The log is where operators look for what blocks them.
fn remark(hook: &Hook, a: &Attributes<'_>, why: &str) {
    let says = match hook.fails_open {
        true => "a webhook does not answer; the write goes on without it (failurePolicy: Ignore)",
        false => "a webhook does not answer and blocks this write (failurePolicy: Fail)",
    };
    tracing::warn!(
        webhook = hook.name,
        configuration = hook.configuration,
        operation = operation(a.operation),
        resource = %asked(a).group_resource(),
        namespace = namespace(a),
        name = a.object_name(),
        why,
        "{says}"
    );
}
