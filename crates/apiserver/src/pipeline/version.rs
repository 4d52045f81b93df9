//! `/version`, so that upstream's clients parse it.

use kaji_api::{Value, value};

/// The Kubernetes release whose behaviour is served.
const KUBERNETES: &str = "v1.36.2";

/// `v1.36.2+kaji.…`: a version that upstream's clients parse, and that says who serves.
pub fn git_version() -> String {
    format!("{KUBERNETES}+kaji.{}", env!("CARGO_PKG_VERSION"))
}

/// The document.
pub(super) fn document() -> Value {
    let version = git_version();
    let platform = format!("{}/{}", std::env::consts::OS, architecture());
    value!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": (version),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": (platform)
    })
}

/// The machine as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
