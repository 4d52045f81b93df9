//! Descriptions of types and fields, from the sources of k8s-openapi: its JSON schemas carry the published texts
//! unaltered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Text of a type (under the empty name) and of its fields.
pub(crate) type Texts = BTreeMap<String, BTreeMap<String, String>>;

/// Where cargo keeps the sources of the release this workspace uses; `None` where they are not at hand.
pub(crate) fn sources() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|p| p["name"] == "k8s-openapi")?;
    let source = Path::new(package["manifest_path"].as_str()?).parent()?.join("src/v1_36");
    source.is_dir().then_some(source)
}

/// All texts below a directory of sources.
pub(crate) fn read(directory: &Path, texts: &mut Texts) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, texts)?;
        } else {
            read_schemas(&std::fs::read_to_string(&path)?, texts);
        }
    }
    Ok(())
}

/// The schemas of one file: how they are laid out is rustfmt's doing.
fn read_schemas(source: &str, texts: &mut Texts) {
    let mut lines = source.lines();
    while lines.by_ref().any(|l| l.starts_with("impl") && l.contains("schemars::JsonSchema for")) {
        let mut name = None;
        let mut field = String::new();
        for line in lines.by_ref().take_while(|l| *l != "}") {
            let word = line.trim();
            if name.is_none() {
                name = word.strip_prefix('"').and_then(|w| w.strip_suffix("\".into()")).map(str::to_owned);
            }
            if let Some(head) = line.strip_prefix("                \"").filter(|h| h.ends_with(['{', '(', '['])) {
                field = head.split('"').next().unwrap_or_default().to_owned();
            }
            if let (Some(name), Some(text)) = (&name, description(word)) {
                texts.entry(name.clone()).or_default().entry(field.clone()).or_insert(text);
            }
        }
    }
}

fn description(line: &str) -> Option<String> {
    let literal = line.strip_prefix("\"description\": \"").and_then(|l| l.strip_suffix("\",")).or_else(|| {
        let inserted = line.strip_prefix("schema_obj.ensure_object().insert(\"description\".into(), \"")?;
        inserted.strip_suffix("\".into());")
    })?;
    Some(unescaped(literal))
}

/// What a string literal means.
fn unescaped(literal: &str) -> String {
    let mut out = String::with_capacity(literal.len());
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('u')) => {
                let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            ('\\', Some(c)) => out.push(c),
            (c, _) => out.push(c),
        }
    }
    out
}

/// The table's form before compression: words ended by NUL: a type, its text, its fields each with its text, an
/// empty word.
pub(crate) fn table(texts: &Texts) -> String {
    let mut out = String::new();
    for (ty, fields) in texts {
        let own = fields.get("").map(String::as_str).unwrap_or_default();
        out.extend([ty, "\0", own, "\0"]);
        for (field, text) in fields.iter().filter(|(field, _)| !field.is_empty()) {
            out.extend([field.as_str(), "\0", text, "\0"]);
        }
        out.push('\0');
    }
    out
}
