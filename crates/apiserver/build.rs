//! Compiles the short protocol texts under `proto/` without a protobuf compiler.

const PROTOCOLS: [&str; 2] = ["kms.proto", "otlp.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for protocol in PROTOCOLS {
        println!("cargo:rerun-if-changed=proto/{protocol}");
    }
    let set = protox::compile(PROTOCOLS, ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        // The other sides are there for tests.
        .server_mod_attribute(".", "#[cfg(test)]")
        .build_transport(false)
        .compile_fds(set)?;
    Ok(())
}
