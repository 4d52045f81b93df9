//! Compiles the short protocol text under `proto/` without a protobuf compiler.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/kms.proto");
    let set = protox::compile(["kms.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        // The plugin's side is there for tests.
        .server_mod_attribute(".", "#[cfg(test)]")
        .build_transport(false)
        .compile_fds(set)?;
    Ok(())
}
