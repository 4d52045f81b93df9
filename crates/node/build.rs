//! Compiles the short protocol texts under `proto/` without a protobuf compiler.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["cri.proto", "events.proto", "content.proto", "images.proto", "leases.proto", "health.proto"];
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    let set = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(set)?;
    Ok(())
}
