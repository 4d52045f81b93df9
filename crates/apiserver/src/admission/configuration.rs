//! `AdmissionConfiguration`: what the plugins are told, in one file or in files that it names (upstream
//! `apiserver/pkg/admission/config.go`).

use super::webhook;
use kaji_api::field::quoted;
use kaji_api::{Value, codec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The kinds of the file.
const KINDS: [(&str, &str); 2] =
    [("apiserver.config.k8s.io/v1", "AdmissionConfiguration"), ("apiserver.k8s.io/v1alpha1", "AdmissionConfiguration")];

/// What was read; two of them are the same if nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// The files, and what they held; none: they could not be read.
    pub(super) files: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// What each plugin is told, or why nobody can be told anything.
    pub(super) told: Result<BTreeMap<String, Value>, String>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { files: BTreeMap::new(), told: Ok(BTreeMap::new()) }
    }
}

impl Reading {
    /// Reads a file, and those that it names.
    pub(super) fn of(file: &Path) -> Self {
        let mut reading = Reading::default();
        reading.told = reading.read(file);
        reading
    }

    fn read(&mut self, file: &Path) -> Result<BTreeMap<String, Value>, String> {
        let shown = quoted(&file.display().to_string());
        let text = self.content(file).map_err(|error| {
            format!(
                "failed to read plugin config: unable to read admission control configuration from {shown} [{error}]"
            )
        })?;
        let bad = |why: String| format!("failed to read plugin config: {shown}: {why}");
        let value = codec::parse_yaml(&text).map_err(|e| bad(e.to_string()))?;
        expect_kind(&value, &KINDS).map_err(bad)?;
        let mut strict = Strict::default();
        strict.fields(&value, "", &["kind", "apiVersion", "plugins"]);
        let mut told = BTreeMap::new();
        for (index, plugin) in value["plugins"].items().iter().enumerate() {
            strict.fields(plugin, &format!("plugins[{index}]"), &["name", "path", "configuration"]);
            let name = plugin["name"].str();
            let configuration = match (&plugin["configuration"], plugin["path"].str()) {
                (Value::Null, "") => continue,
                (Value::Null, path) => self.named(name, &file.parent().unwrap_or(Path::new(".")).join(path))?,
                (inline, _) => inline.clone(),
            };
            // Looked at by the plugin; here it is only followed.
            if let Some(file) = webhook::kubeconfig(&configuration) {
                let _ = self.content(file);
            }
            // The first counts.
            told.entry(name.to_owned()).or_insert(configuration);
        }
        strict.check().map_err(bad)?;
        Ok(told)
    }

    fn named(&mut self, plugin: &str, path: &Path) -> Result<Value, String> {
        let bad = |why: String| format!("couldn't init admission plugin {}: {}: {why}", quoted(plugin), path.display());
        let text = self.content(path).map_err(|e| bad(e.to_string()))?;
        codec::parse_yaml(&text).map_err(|e| bad(e.to_string()))
    }

    fn content(&mut self, file: &Path) -> std::io::Result<Vec<u8>> {
        let content = std::fs::read(file);
        self.files.insert(file.to_owned(), content.as_ref().ok().cloned());
        content
    }
}

/// Whether a document is of one of the kinds.
pub(super) fn expect_kind(value: &Value, kinds: &[(&str, &str)]) -> Result<(), String> {
    match (value.api_version(), value.kind()) {
        (_, "") => Err("Object 'Kind' is missing".to_owned()),
        ("", _) => Err("Object 'apiVersion' is missing".to_owned()),
        found if kinds.contains(&found) => Ok(()),
        (version, kind) => {
            let wanted = kinds.first().map_or(("", ""), |k| *k);
            Err(format!(
                "no kind {} is registered for version {}: want {} of {}",
                quoted(kind),
                quoted(version),
                wanted.1,
                wanted.0
            ))
        }
    }
}

/// Collects what strict decoding refuses.
#[derive(Default)]
pub(super) struct Strict(Vec<String>);

impl Strict {
    /// Notes the fields of an object that are not known.
    pub(super) fn fields(&mut self, value: &Value, path: &str, known: &[&str]) {
        let dot = if path.is_empty() { "" } else { "." };
        let unknown = value.entries().filter(|(name, _)| !known.contains(name));
        self.0.extend(unknown.map(|(name, _)| format!("unknown field \"{path}{dot}{name}\"")));
    }

    /// Refuses if there was anything.
    pub(super) fn check(self) -> Result<(), String> {
        match self.0.as_slice() {
            [] => Ok(()),
            unknown => Err(format!("strict decoding error: {}", unknown.join(", "))),
        }
    }
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    list.items().iter().map(|text| text.str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<BTreeMap<String, Value>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let reading = Reading::of(&dir.path().join("admission.yaml"));
        reading.told.map_err(|why| why.replace(&format!("{}/", dir.path().display()), ""))
    }

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n";

    #[test]
    fn plugins_are_told_inline_or_by_file() {
        let text = format!(
            "{HEAD}plugins:\n- {{name: A, configuration: {{kind: X}}}}\n- {{name: B, path: b.yaml}}\n- name: C\n"
        );
        let told = read(&[("admission.yaml", &text), ("b.yaml", "kind: Z")]).unwrap();
        let kinds: Vec<(&str, &str)> = told.iter().map(|(name, value)| (name.as_str(), value.kind())).collect();
        assert_eq!(kinds, [("A", "X"), ("B", "Z")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| read(&[("admission.yaml", text)]).unwrap_err();
        let before = "failed to read plugin config: \"admission.yaml\": ";
        assert_eq!(refused("{}"), format!("{before}Object 'Kind' is missing"));
        assert_eq!(refused("kind: X"), format!("{before}Object 'apiVersion' is missing"));
        assert!(refused("{kind: Policy, apiVersion: audit.k8s.io/v1}").contains("no kind \"Policy\" is registered"));
        let unknown = refused(&format!("{HEAD}plugins: [{{name: A, file: b}}]"));
        assert_eq!(unknown, format!("{before}strict decoding error: unknown field \"plugins[0].file\""));
        let absent = refused(&format!("{HEAD}plugins: [{{name: A, path: b}}]"));
        assert!(absent.starts_with("couldn't init admission plugin \"A\": b: No such file"), "{absent}");
        let absent = read(&[]).unwrap_err();
        let start =
            "failed to read plugin config: unable to read admission control configuration from \"admission.yaml\"";
        assert!(absent.starts_with(start), "{absent}");
    }
}
