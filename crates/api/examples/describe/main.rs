//! Writes `schema/descriptions.bin`: the texts of the published API, compressed. Run it after a new release of
//! k8s-openapi: `cargo run -p kaji-api --example describe`.

mod extract;

use flate2::{Compression, write::ZlibEncoder};
use std::io::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let sources =
        extract::sources().ok_or_else(|| std::io::Error::other("the sources of k8s-openapi are not at hand"))?;
    let mut texts = extract::Texts::new();
    extract::read(&sources, &mut texts)?;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(extract::table(&texts).as_bytes())?;
    let packed = encoder.finish()?;
    println!("{} types, {} bytes", texts.len(), packed.len());
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/descriptions.bin"), packed)
}
