//! `PodSecurityConfiguration`: what holds where a namespace says nothing, and who is exempt (upstream
//! `pod-security-admission/admission/api`).

use super::policy::{Level, Policy, Rules, minor};
use crate::admission::configuration::{Strict, expect_kind, texts};
use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use kaji_api::names;

const KINDS: [(&str, &str); 3] = [
    ("pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration"),
    ("pod-security.admission.config.k8s.io/v1beta1", "PodSecurityConfiguration"),
    ("pod-security.admission.config.k8s.io/v1alpha1", "PodSecurityConfiguration"),
];

/// What the plugin goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Configuration {
    /// Where labels say nothing.
    pub(super) defaults: Policy,
    pub(super) usernames: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) runtime_classes: Vec<String>,
}

impl Configuration {
    /// From the plugin's part of the admission configuration; the texts are upstream's.
    pub(super) fn read(told: &Value) -> Result<Self, String> {
        expect_kind(told, &KINDS)?;
        let mut strict = Strict::default();
        strict.fields(told, "", &["kind", "apiVersion", "defaults", "exemptions"]);
        let modes = ["enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"];
        strict.fields(&told["defaults"], "defaults", &modes);
        strict.fields(&told["exemptions"], "exemptions", &["usernames", "namespaces", "runtimeClasses"]);
        strict.check()?;
        let mut errors = Errors::new();
        let [enforce, warn, audit] =
            ["enforce", "warn", "audit"].map(|mode| rules(&told["defaults"], mode, &mut errors));
        let exemptions = &told["exemptions"];
        let mut list = |name: &str, fault: fn(&str) -> Vec<String>| {
            check(&exemptions[name], &Path::new("exemptions").child(name), fault, &mut errors);
            texts(&exemptions[name])
        };
        let configuration = Configuration {
            defaults: Policy { enforce, audit, warn },
            namespaces: list("namespaces", names::dns1123_label),
            runtime_classes: list("runtimeClasses", names::dns1123_subdomain),
            usernames: list("usernames", |name| match name {
                "" => vec!["username must not be empty".to_owned()],
                _ => Vec::new(),
            }),
        };
        match errors.is_empty() {
            true => Ok(configuration),
            false => Err(format!("PodSecurity invalid: {errors}")),
        }
    }
}

impl Configuration {
    /// Whether nothing is asked of pods with this spec.
    pub(super) fn is_exempt_class(&self, spec: &Value) -> bool {
        self.runtime_classes.iter().any(|exempt| exempt == spec["runtimeClassName"].str())
    }
}

fn rules(defaults: &Value, mode: &str, errors: &mut Errors) -> Rules {
    let path = Path::new("defaults");
    let version = format!("{mode}-version");
    let text = |field: &str, usual: &'static str| match defaults[field].str() {
        "" => usual.to_owned(),
        given => given.to_owned(),
    };
    let (level, release) = (text(mode, "privileged"), text(&version, "latest"));
    let read = Level::parse(&level);
    if read.is_none() {
        errors.invalid(&path.child(mode), level, super::policy::LEVELS);
    }
    let known = minor(&release);
    if known.is_none() && release != "latest" {
        errors.invalid(&path.child(&version), release, super::policy::VERSIONS);
    }
    Rules { level: read.unwrap_or(Level::Restricted), minor: known }
}

/// Notes entries of a list that are out of form, or there already.
fn check(list: &Value, path: &Path, fault: fn(&str) -> Vec<String>, errors: &mut Errors) {
    let items = list.items();
    for (index, item) in items.iter().enumerate() {
        let faults = fault(item.str());
        if !faults.is_empty() {
            errors.invalid(&path.index(index), item.str(), &faults.join(", "));
        } else if items[..index].contains(item) {
            errors.duplicate(&path.index(index), item.str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn read(rest: &[(&str, Value)]) -> Result<Configuration, String> {
        let mut told =
            value!({"kind": "PodSecurityConfiguration", "apiVersion": "pod-security.admission.config.k8s.io/v1"});
        for (field, value) in rest {
            told.set((*field).to_owned(), value.clone());
        }
        Configuration::read(&told)
    }

    #[test]
    fn what_is_left_out_is_privileged() {
        assert_eq!(read(&[]).unwrap(), Configuration::default());
        let read = read(&[
            ("defaults", value!({"enforce": "baseline", "enforce-version": "v1.20"})),
            ("exemptions", value!({"usernames": ["jane"], "runtimeClasses": ["kata"], "namespaces": ["kube-system"]})),
        ]);
        let read = read.unwrap();
        assert_eq!(read.defaults.enforce.to_string(), "baseline:v1.20");
        assert_eq!(read.defaults.warn.to_string(), "privileged:latest");
        assert_eq!((read.usernames, read.namespaces), (vec!["jane".to_owned()], vec!["kube-system".to_owned()]));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refused = |field: &str, value: Value| read(&[(field, value)]).unwrap_err();
        assert_eq!(
            refused("defaults", value!({"warn": "some"})),
            "PodSecurity invalid: defaults.warn: Invalid value: \"some\": must be one of privileged, baseline, restricted"
        );
        assert_eq!(
            refused("defaults", value!({"audit-version": "1.2"})),
            "PodSecurity invalid: defaults.audit-version: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\""
        );
        assert_eq!(
            refused("exemptions", value!({"usernames": ["a", "a"]})),
            "PodSecurity invalid: exemptions.usernames[1]: Duplicate value: \"a\""
        );
        assert_eq!(
            refused("exemptions", value!({"users": ["a"]})),
            "strict decoding error: unknown field \"exemptions.users\""
        );
    }
}
