//! Which plugins are on, and where their configuration lies.

use super::Plugin;
use super::plugins::{ALL, Known};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The flags; upstream's defaults, but that NodeRestriction is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--enable-admission-plugins`: plugins beside those that are on by themselves.
    pub enabled: Vec<String>,
    /// `--disable-admission-plugins`: plugins that are on by themselves but should not be.
    pub disabled: Vec<String>,
    /// `--admission-control-config-file` (kind `AdmissionConfiguration`).
    pub config_file: Option<PathBuf>,
}

impl Options {
    /// The plugins that are on, in upstream's order; the errors are upstream's.
    pub(super) fn plugins(&self) -> Result<Vec<Box<dyn Plugin>>, String> {
        self.validate()?;
        let wanted = |known: &&Known| {
            let listed = |list: &[String]| list.iter().any(|name| name == known.name);
            listed(&self.enabled) || known.on && !listed(&self.disabled)
        };
        Ok(ALL.iter().filter(wanted).filter_map(|known| known.make).map(|make| make()).collect())
    }

    fn validate(&self) -> Result<(), String> {
        let known = |name: &str| ALL.iter().find(|known| known.name == name);
        let mut wrong = Vec::new();
        for (flag, list) in [("enable", &self.enabled), ("disable", &self.disabled)] {
            let unknown = list.iter().filter(|name| known(name).is_none());
            wrong.extend(unknown.map(|name| format!("{flag}-admission-plugins plugin {name:?} is unknown")));
        }
        let absent = self.enabled.iter().filter(|name| known(name).is_some_and(|known| known.make.is_none()));
        wrong.extend(absent.map(|name| {
            format!("enable-admission-plugins plugin {name:?} is one of upstream's that this server does not have")
        }));
        let disabled: BTreeSet<&String> = self.disabled.iter().collect();
        let both: BTreeSet<&str> =
            self.enabled.iter().filter(|name| disabled.contains(name)).map(String::as_str).collect();
        if !both.is_empty() {
            let both = both.into_iter().collect::<Vec<_>>().join(" ");
            wrong.push(format!("[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"));
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(enabled: &[&str], disabled: &[&str]) -> Result<Vec<&'static str>, String> {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let options = Options { enabled: list(enabled), disabled: list(disabled), config_file: None };
        options.plugins().map(|plugins| plugins.iter().map(|plugin| plugin.name()).collect())
    }

    #[test]
    fn plugins_are_chosen_by_name() {
        let usual = names(&[], &[]).unwrap();
        assert_eq!((usual[0], *usual.last().unwrap()), ("NamespaceLifecycle", "ResourceQuota"));
        let changed = names(&["AlwaysPullImages"], &["ServiceAccount", "PodResizeValidator"]).unwrap();
        assert!(changed.contains(&"AlwaysPullImages") && !changed.contains(&"ServiceAccount"));
        assert_eq!(changed.len(), usual.len());
        let table: [(&[&str], &[&str], &str); 4] = [
            (&["Nonsense"], &[], "enable-admission-plugins plugin \"Nonsense\" is unknown"),
            (&[], &["Nonsense"], "disable-admission-plugins plugin \"Nonsense\" is unknown"),
            (
                &["Priority", "LimitRanger"],
                &["LimitRanger", "Priority"],
                "[LimitRanger Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
            ),
            (
                &["ImagePolicyWebhook"],
                &[],
                "enable-admission-plugins plugin \"ImagePolicyWebhook\" is one of upstream's that this server does not have",
            ),
        ];
        for (enabled, disabled, text) in table {
            assert_eq!(names(enabled, disabled).unwrap_err(), text);
        }
    }

    #[test]
    fn every_plugin_goes_by_the_name_it_is_listed_under() {
        for known in ALL {
            if let Some(make) = known.make {
                assert_eq!(make().name(), known.name);
            }
        }
    }

    #[test]
    fn names_order_and_defaults_are_upstreams() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/flags.json");
        let Ok(text) = std::fs::read_to_string(path) else { return eprintln!("skipped: no {path}") };
        let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
        let list = |key: &str| -> Vec<String> {
            let names = reference["admissionPlugins"][key].as_array().unwrap();
            names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ALL.iter().map(|known| known.name).collect::<Vec<_>>(), list("ordered"));
        let on: Vec<&str> = ALL.iter().filter(|k| k.on && k.name != "NodeRestriction").map(|k| k.name).collect();
        assert_eq!(on, list("defaultOn"));
    }
}
