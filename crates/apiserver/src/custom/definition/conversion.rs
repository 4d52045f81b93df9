//! How objects are converted between versions.

use super::options::Options;
use crate::validation::{At, webhook};
use base64::prelude::*;
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, names};

const STRATEGIES: [&str; 2] = ["None", "Webhook"];
/// Versions of conversion reviews that we speak.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// The `conversion` of a definition.
pub(super) fn validate(conversion: &Value, preserves: bool, options: &Options, e: &mut Errors) {
    if conversion.is_null() {
        return;
    }
    let path = Path::new("spec").child("conversion");
    let strategy = conversion["strategy"].str();
    if strategy != "None" && preserves {
        let text = "must be None if spec.preserveUnknownFields is true";
        e.invalid(&path.child("strategy"), strategy, text);
    }
    match strategy {
        "" => e.required(&path.child("strategy"), ""),
        known if STRATEGIES.contains(&known) => {}
        other => e.not_supported(&path.child("strategy"), other, &STRATEGIES),
    }
    let (config, reviews) =
        (&conversion["webhook"]["clientConfig"], &conversion["webhook"]["conversionReviewVersions"]);
    if strategy == "Webhook" {
        client_config(config, options, &path.child("webhookClientConfig"), e);
        review_versions(reviews, options, &path.child("conversionReviewVersions"), e);
        return;
    }
    let text = "should not be set when strategy is not set to Webhook";
    if !config.is_null() {
        e.forbidden(&path.child("webhookClientConfig"), text);
    }
    if !reviews.items().is_empty() {
        e.forbidden(&path.child("conversionReviewVersions"), text);
    }
}

/// Upstream's older form has the webhook's parts at other places than clients write them.
fn client_config(config: &Value, options: &Options, path: &Path, e: &mut Errors) {
    if config.is_null() {
        return e.required(path, "required when strategy is set to Webhook");
    }
    let (url, service) = (&config["url"], &config["service"]);
    let mut found = Errors::new();
    match (url.is_null(), service.is_null()) {
        (false, true) => webhook::url(At::root(config).field("url"), true, &mut found),
        (true, false) => webhook::service(At::root(config).field("service"), &mut found),
        _ => e.required(path, "exactly one of url or service is required"),
    }
    for mut error in found.0 {
        error.field = format!("{path}.{}", error.field);
        // Upstream hands over the name as namespace and the other way round.
        error.field = match error.field.strip_suffix(".name") {
            Some(front) => format!("{front}.namespace"),
            None => error.field.strip_suffix(".namespace").map_or(error.field.clone(), |front| format!("{front}.name")),
        };
        e.0.push(error);
    }
    let bundle = config["caBundle"].str();
    if options.ca_bundle && !bundle.is_empty() && !is_bundle(bundle) {
        let text = "unable to load root certificates: unable to parse bytes as PEM block";
        e.invalid(&path.child("caBundle"), bundle, text);
    }
}

fn review_versions(versions: &Value, options: &Options, path: &Path, e: &mut Errors) {
    if versions.items().is_empty() {
        return e.required(path, "");
    }
    for (i, version) in versions.items().iter().enumerate() {
        let version = version.str();
        if versions.items()[..i].iter().any(|before| before.str() == version) {
            e.invalid(&path.index(i), version, "duplicate version");
            continue;
        }
        names::dns1035_label(version).iter().for_each(|text| e.invalid(&path.index(i), version, text));
    }
    if options.known_review && !versions.items().iter().any(|v| REVIEWS.contains(&v.str())) {
        let text = format!("must include at least one of {}", REVIEWS.join(", "));
        e.invalid(path, versions.clone(), &text);
    }
}

/// Whether the text holds a certificate at least.
fn is_bundle(base64: &str) -> bool {
    let Ok(pem) = BASE64_STANDARD.decode(base64) else { return false };
    x509_cert::Certificate::load_pem_chain(&pem).is_ok_and(|chain| !chain.is_empty())
}

/// The conversion webhook of a definition has an authority that cannot be read.
pub(in crate::custom) fn has_bad_bundle(crd: &Value) -> bool {
    let bundle = crd["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"].str();
    !bundle.is_empty() && !is_bundle(bundle)
}
