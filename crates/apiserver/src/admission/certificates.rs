//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who may approve and sign the requests
//! of a signer, and whom no request may name.

use super::{Attributes, Operation, Plugin, content};
use crate::authz::{Decision, Question};
use base64::prelude::*;
use der::DecodePem;
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{Status, Value};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::request::CertReq;

const GROUP: &str = "certificates.k8s.io";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const COMMON_NAME: &str = "2.5.4.3";
const ORGANIZATION: &str = "2.5.4.10";

pub(super) struct CertificateApproval;
pub(super) struct CertificateSigning;
pub(super) struct CertificateSubjectRestriction;

fn is_update_of(a: &Attributes<'_>, sub: &str) -> bool {
    a.operation == Operation::Update
        && a.target.resource.group == GROUP
        && a.target.resource.plural == "certificatesigningrequests"
        && a.target.sub.is_some_and(|s| s.name == sub)
}

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !is_update_of(a, "approval") {
            return content();
        }
        Box::pin(async move {
            let signer = a.old["spec"]["signerName"].str();
            if may(a, "approve", signer).await {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to approve requests with signerName {}", quoted(signer))))
        })
    }
}

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !is_update_of(a, "status") {
            return content();
        }
        Box::pin(async move {
            let signer = a.old["spec"]["signerName"].str();
            let same = |field: &str| a.object["status"][field] == a.old["status"][field];
            if (same("certificate") && same("conditions")) || may(a, "sign", signer).await {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to sign requests with signerName {}", quoted(signer))))
        })
    }
}

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if a.operation != Operation::Create || !a.is(GROUP, "certificatesigningrequests") {
            return content();
        }
        Box::pin(async move {
            if a.object["spec"]["signerName"].str() != API_CLIENT {
                return Ok(());
            }
            let subject = Subject::of(a.object).map_err(|e| a.forbidden(&format!("failed to parse CSR: {e}")))?;
            match subject.organizations.iter().any(|o| o == "system:masters") {
                false => Ok(()),
                true => {
                    let why = format!("use of {API_CLIENT} signer with system:masters group is not allowed");
                    Err(a.forbidden(&why))
                }
            }
        })
    }
}

/// Whether the user may do this with requests of the signer, or of all signers of its domain.
async fn may(a: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let question = Question {
            user: a.cx.user.clone(),
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Question::default()
        };
        if let Decision::Allow(_) = a.api.authorize(&question).await {
            return true;
        }
    }
    false
}

/// Whom a certificate would be for.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
}

impl Subject {
    /// The subject of a `CertificateSigningRequest`.
    pub(super) fn of(request: &Value) -> Result<Self, der::Error> {
        let pem = BASE64_STANDARD.decode(request["spec"]["request"].str()).unwrap_or_default();
        let parsed = CertReq::from_pem(&pem)?;
        let mut subject = Subject::default();
        for part in parsed.info.subject.iter() {
            match part.oid.to_string().as_str() {
                COMMON_NAME => subject.common_name = text(part),
                ORGANIZATION => subject.organizations.push(text(part)),
                _ => {}
            }
        }
        Ok(subject)
    }
}

/// Names are one of several kinds of string.
fn text(part: &AttributeTypeAndValue) -> String {
    String::from_utf8_lossy(part.value.value()).into_owned()
}
