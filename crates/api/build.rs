//! Compiles `schema/*.kaji` into static tables (`src/schema/tables.rs` has their types).
//!
//! The text form is described in `schema/README.md`.

#[path = "build/emit.rs"]
mod emit;
#[path = "build/link.rs"]
mod link;
#[path = "build/text.rs"]
mod text;

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the crate's directory");
    let out = std::env::var("OUT_DIR").expect("cargo names the output directory");
    let schema = Path::new(&root).join("schema");
    println!("cargo::rerun-if-changed={}", schema.display());
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");

    let mut files: Vec<_> = std::fs::read_dir(&schema)
        .expect("the schema directory is part of the crate")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|e| e == "kaji"))
        .collect();
    files.sort();

    let mut source = text::Source::default();
    for path in &files {
        let text = std::fs::read_to_string(path).expect("a readable schema file");
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        if let Err(why) = source.read(&name, &text) {
            panic!("{}: {why}", path.display());
        }
    }
    open_api_sources(&root, &files);
    let tables = link::link(&source).unwrap_or_else(|why| panic!("schema: {why}"));
    std::fs::write(Path::new(&out).join("tables.rs"), emit::emit(&tables)).expect("a writable output directory");
}

/// Tells the crate a hash of all that OpenAPI documents are made of, so that clients know when they change.
fn open_api_sources(root: &str, schema: &[PathBuf]) {
    let code = Path::new(root).join("src/openapi");
    println!("cargo::rerun-if-changed={}", code.display());
    println!("cargo::rerun-if-changed=src/openapi.rs");
    let modules = std::fs::read_dir(&code).expect("the modules are part of the crate");
    let modules = modules.map(|entry| entry.expect("a readable directory").path()).filter(|path| path.is_file());
    let mut files: Vec<PathBuf> = schema.iter().cloned().chain(modules).collect();
    files.extend(["schema/descriptions.bin", "src/openapi.rs"].map(|name| Path::new(root).join(name)));
    files.sort();
    // Without keys, the same everywhere.
    let mut hash = DefaultHasher::new();
    files.iter().for_each(|path| hash.write(&std::fs::read(path).expect("a readable file")));
    println!("cargo::rustc-env=OPENAPI_SOURCES={:016x}", hash.finish());
}
