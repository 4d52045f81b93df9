//! `--runtime-config`: which built-in API versions and resources are served (upstream apiserver
//! `server/resourceconfig`, `server/options/api_enablement.go`).

use kaji_api::ResourceDef;
use kaji_api::field::quoted;
use std::collections::{BTreeMap, BTreeSet};

/// What was asked for, by key: `api/beta`, `apps/v1`, `apps/v1/deployments`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig(BTreeMap<String, String>);

/// A group, version and plural.
pub(crate) type Name = (&'static str, &'static str, &'static str);

const ALL: &str = "api/all";
/// Keys that stand for many versions; later ones override earlier ones.
const SWEEPING: [(&str, fn(&str) -> bool); 4] =
    [(ALL, |_| true), ("api/ga", is_stable), ("api/beta", is_beta), ("api/alpha", is_alpha)];
/// Without these versions the server cannot do its work.
const AGGREGATION: (&str, &str) = ("apiregistration.k8s.io", "v1");
const FAIRNESS: &str = "flowcontrol.apiserver.k8s.io/v1";

/// Versions that upstream knows but serves no more, or only sends to others: to switch them changes nothing.
const SILENT: [(&str, &[&str]); 17] = [
    ("admission.k8s.io", &["v1", "v1beta1"]),
    ("apiextensions.k8s.io", &["v1beta1"]),
    ("apiregistration.k8s.io", &["v1beta1"]),
    ("apps", &["v1beta1", "v1beta2"]),
    ("authentication.k8s.io", &["v1alpha1", "v1beta1"]),
    ("authorization.k8s.io", &["v1beta1"]),
    ("batch", &["v1beta1"]),
    ("discovery.k8s.io", &["v1beta1"]),
    ("events.k8s.io", &["v1beta1"]),
    ("extensions", &["v1beta1"]),
    ("flowcontrol.apiserver.k8s.io", &["v1beta1", "v1beta2", "v1beta3"]),
    ("imagepolicy.k8s.io", &["v1alpha1"]),
    ("node.k8s.io", &["v1alpha1", "v1beta1"]),
    ("policy", &["v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1alpha1", "v1beta1"]),
    ("scheduling.k8s.io", &["v1beta1"]),
    ("storage.k8s.io", &["v1alpha1"]),
];

impl RuntimeConfig {
    /// From words such as `api/beta=false`; a key alone switches on.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let pair = |word: &'a str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (renamed(key.trim()).to_owned(), value.trim().to_owned())
        };
        let words = words.into_iter().filter(|word| !word.is_empty());
        RuntimeConfig(words.map(pair).filter(|(key, _)| key != "api/legacy").collect())
    }

    /// The resources among those served by default that are not served; the errors are upstream's, but for those of
    /// versions that this server does not have.
    pub(crate) fn switched_off(&self, rows: &[ResourceDef], fairness: bool) -> Result<BTreeSet<Name>, String> {
        self.validate(rows, fairness)?;
        let choices = self.choices(rows)?;
        let mut off = BTreeSet::new();
        let mut missing = BTreeSet::new();
        for row in rows {
            match (row.enabled, choices.is_on(row)) {
                (true, false) => drop(off.insert((row.group, row.version, row.plural))),
                (false, true) => drop(missing.insert(row.api_version())),
                _ => {}
            }
        }
        if !missing.is_empty() {
            let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!("--runtime-config: this server does not have the API versions {missing}"));
        }
        let is_aggregation = |row: &&ResourceDef| (row.group, row.version) == AGGREGATION;
        if rows.iter().filter(is_aggregation).any(|row| !choices.is_on(row)) {
            return Err(format!("API group/version {}/{} must be enabled", AGGREGATION.0, AGGREGATION.1));
        }
        Ok(off)
    }

    fn validate(&self, rows: &[ResourceDef], fairness: bool) -> Result<(), String> {
        if fairness {
            let is_off = |key: &&str| self.shown().contains(&format!("{key}=false"));
            if let Some(key) = [FAIRNESS, "api/ga", ALL].iter().find(|key| is_off(key)) {
                return Err(format!("--runtime-config={key}=false conflicts with --enable-priority-and-fairness=true"));
            }
        }
        if self.0.len() == 1 && self.0.get(ALL).is_some_and(|value| value == "false") {
            return Err(format!("invalid runtime-config with only {ALL}=false"));
        }
        let mut unknown = BTreeSet::new();
        for key in self.specific() {
            let version = Specific::parse(key).ok_or_else(|| format!("runtime-config invalid key {key}"))?;
            if !is_group(rows, version.group) {
                unknown.insert(version.group_version());
            }
        }
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(format!("unknown api groups {}", unknown.into_iter().collect::<Vec<_>>().join(","))),
        }
    }

    fn choices(&self, rows: &[ResourceDef]) -> Result<Choices<'_>, String> {
        let mut choices = Choices::default();
        for (key, fits) in SWEEPING {
            match self.0.get(key).map(String::as_str) {
                None => {}
                Some("true") => choices.sweeping.push((fits, true)),
                Some("false") => choices.sweeping.push((fits, false)),
                Some(other) => return Err(format!("invalid value {key}={other}")),
            }
        }
        for key in self.specific() {
            let Some(chosen) = Specific::parse(key) else { continue };
            if !is_version(rows, chosen.group, chosen.version) {
                return Err(format!("group version {} that has not been registered", chosen.group_version()));
            }
            let on = switch(key, &self.0[key])?;
            match chosen.resource {
                "" => drop(choices.versions.insert((chosen.group, chosen.version), on)),
                name if name.to_lowercase() != name => {
                    let why = "group/version/resource and resource is always lowercase plural";
                    return Err(format!("invalid key {key}: {why}, not {}", quoted(name)));
                }
                name => drop(choices.resources.insert((chosen.group, chosen.version, name), on)),
            }
        }
        Ok(choices)
    }

    /// The keys that name one version or resource.
    fn specific(&self) -> impl Iterator<Item = &str> {
        let is_sweeping = |key: &str| SWEEPING.iter().any(|(sweeping, _)| *sweeping == key);
        self.0.keys().map(String::as_str).filter(move |key| !is_sweeping(key))
    }

    fn shown(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }
}

/// The core group goes by several names; whatever is said of one of its resources is said of all.
fn renamed(key: &str) -> &str {
    let is_core = |prefix: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_core("v1") || is_core("api/v1") { "/v1" } else { key }
}

/// A key in its parts; the resource may be empty.
struct Specific<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

impl<'a> Specific<'a> {
    fn parse(key: &'a str) -> Option<Self> {
        match *key.split('/').collect::<Vec<_>>().as_slice() {
            [group, version] => Some(Specific { group, version, resource: "" }),
            [group, version, resource] => Some(Specific { group, version, resource }),
            _ => None,
        }
    }

    fn group_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// What was asked for, the more special the stronger.
#[derive(Default)]
struct Choices<'a> {
    sweeping: Vec<(fn(&str) -> bool, bool)>,
    versions: BTreeMap<(&'a str, &'a str), bool>,
    resources: BTreeMap<(&'a str, &'a str, &'a str), bool>,
}

impl Choices<'_> {
    fn is_on(&self, row: &ResourceDef) -> bool {
        let swept = || self.sweeping.iter().rev().find(|(fits, _)| fits(row.version)).map(|(_, on)| *on);
        let special = self.resources.get(&(row.group, row.version, row.plural)).copied();
        let version = || self.versions.get(&(row.group, row.version)).copied();
        special.or_else(version).or_else(swept).unwrap_or(row.enabled)
    }
}

fn switch(key: &str, value: &str) -> Result<bool, String> {
    if value.is_empty() {
        return Ok(true);
    }
    kaji_api::feature::parse_bool(value).map_err(|why| format!("invalid value of {key}: {value}, err: {why}"))
}

fn is_group(rows: &[ResourceDef], group: &str) -> bool {
    rows.iter().any(|row| row.group == group) || SILENT.iter().any(|(silent, _)| *silent == group)
}

fn is_version(rows: &[ResourceDef], group: &str, version: &str) -> bool {
    rows.iter().any(|row| (row.group, row.version) == (group, version))
        || SILENT.iter().any(|(silent, versions)| *silent == group && versions.contains(&version))
}

/// Splits `v2beta3` into what follows the number: nothing, `beta` and a number, `alpha` and a number.
fn stage<'a>(version: &'a str, word: &str) -> Option<&'a str> {
    let rest = version.strip_prefix('v')?.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.strip_prefix(word).filter(|_| version.len() > rest.len() + 1)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_stable(version: &str) -> bool {
    stage(version, "").is_some_and(str::is_empty)
}

fn is_beta(version: &str) -> bool {
    stage(version, "beta").is_some_and(is_number)
}

fn is_alpha(version: &str) -> bool {
    stage(version, "alpha").is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(typed: &str, fairness: bool) -> Result<Vec<String>, String> {
        let off = RuntimeConfig::parse(typed.split(',')).switched_off(kaji_api::resource::all(), fairness)?;
        Ok(off.into_iter().map(|(group, version, plural)| format!("{group}/{version}/{plural}")).collect())
    }

    #[test]
    fn versions_and_resources_are_switched_off() {
        let apps = ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"];
        let apps: Vec<String> = apps.iter().map(|plural| format!("apps/v1/{plural}")).collect();
        let without = |left: &str| apps.iter().filter(|name| *name != left).cloned().collect::<Vec<_>>();
        let table = [
            ("", vec![]),
            ("api/beta=false,api/alpha=false", vec![]),
            ("apps/v1=false", apps.clone()),
            (" apps/v1 = false ", apps.clone()),
            ("apps/v1=0", apps.clone()),
            ("apps/v1", vec![]),
            ("apps/v1/deployments=false", vec!["apps/v1/deployments".to_owned()]),
            ("apps/v1=false,apps/v1/deployments=true", without("apps/v1/deployments")),
            ("apps/v1/nonsense=false", vec![]),
            ("apps/v1beta2=true,extensions/v1beta1=true", vec![]),
            ("autoscaling/v1=F", vec!["autoscaling/v1/horizontalpodautoscalers".to_owned()]),
            ("api/legacy=false", vec![]),
        ];
        for (typed, expected) in table {
            assert_eq!(off(typed, true).unwrap(), expected, "{typed}");
        }
        let core = off("v1=false", true).unwrap();
        assert!(core.contains(&"/v1/pods".to_owned()) && core.iter().all(|name| name.starts_with("/v1/")));
        assert_eq!(off("api/v1/pods=false", true).unwrap(), core);
        let most = off("api/all=false,apiregistration.k8s.io/v1=true,apps/v1=true", false).unwrap();
        assert!(!most.iter().any(|name| name.starts_with("apps/") || name.starts_with("apiregistration")));
        assert!(most.contains(&"batch/v1/jobs".to_owned()));
        let stable = off("api/all=false,api/ga=true", false);
        assert_eq!(stable, Ok(vec![]));
    }

    #[test]
    fn nonsense_is_refused_as_upstream_does() {
        let table = [
            ("foo/v1=true", "unknown api groups foo/v1"),
            ("foo/v1=true,bar/v2/x=false", "unknown api groups bar/v2,foo/v1"),
            ("v2=true", "runtime-config invalid key v2"),
            ("a/b/c/d=true", "runtime-config invalid key a/b/c/d"),
            ("api/all=false", "invalid runtime-config with only api/all=false"),
            ("api/all=maybe", "invalid value api/all=maybe"),
            ("api/beta", "invalid value api/beta="),
            ("apps/v7=true", "group version apps/v7 that has not been registered"),
            ("/v7=true", "group version v7 that has not been registered"),
            (
                "apps/v1=maybe",
                "invalid value of apps/v1: maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "apps/v1/Deployments=true",
                "invalid key apps/v1/Deployments: group/version/resource and resource is always lowercase plural, not \
                 \"Deployments\"",
            ),
            ("apiregistration.k8s.io/v1=false", "API group/version apiregistration.k8s.io/v1 must be enabled"),
            (
                "resource.k8s.io/v1beta1=true,scheduling.k8s.io/v1alpha2/podgroups=true",
                "--runtime-config: this server does not have the API versions resource.k8s.io/v1beta1, \
                 scheduling.k8s.io/v1alpha2",
            ),
        ];
        for (typed, why) in table {
            assert_eq!(off(typed, false).unwrap_err(), why, "{typed}");
        }
        assert!(off("api/beta=true", false).unwrap_err().contains("networking.k8s.io/v1beta1"));
        for key in ["flowcontrol.apiserver.k8s.io/v1", "api/ga", "api/all"] {
            let why = off(&format!("{key}=false,apiregistration.k8s.io/v1=true"), true).unwrap_err();
            assert_eq!(why, format!("--runtime-config={key}=false conflicts with --enable-priority-and-fairness=true"));
        }
    }

    #[test]
    fn versions_tell_how_ripe_they_are() {
        for (version, stable, beta, alpha) in [
            ("v1", true, false, false),
            ("v10", true, false, false),
            ("v", false, false, false),
            ("v1beta1", false, true, false),
            ("v1beta", false, false, false),
            ("v2alpha10", false, false, true),
            ("vbeta1", false, false, false),
            ("1", false, false, false),
        ] {
            assert_eq!((is_stable(version), is_beta(version), is_alpha(version)), (stable, beta, alpha), "{version}");
        }
    }

    /// What cannot be switched on is not silently taken.
    #[test]
    fn silent_versions_are_not_among_the_rows() {
        for (group, versions) in SILENT {
            let is_row = |version: &&str| {
                kaji_api::resource::all().iter().any(|row| (row.group, row.version) == (group, *version))
            };
            assert_eq!(versions.iter().find(|v| is_row(v)), None, "{group}");
        }
    }
}
