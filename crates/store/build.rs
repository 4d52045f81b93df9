//! Compiles the short protocol text under `proto/` without a protobuf compiler.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/etcd.proto");
    let set = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).build_transport(false).bytes(".").compile_fds(set)?;
    Ok(())
}
