//! `kaji apiserver` asked for more than it can do. A small form here; `make load SCALE=10` for as much as one likes.

use kaji_testkit::load::{Plan, run};

/// How much of everything, if not a little.
const SCALE: &str = "KAJI_LOAD_SCALE";
/// Part of the names of the scenarios to try, if not all.
const ONLY: &str = "KAJI_LOAD_ONLY";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_survives_too_much_of_everything() {
    let scale = std::env::var(SCALE).ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let plan = Plan { kaji: env!("CARGO_BIN_EXE_kaji").into(), scale, only: std::env::var(ONLY).ok() };
    let wrong: Vec<String> =
        run(plan).await.into_iter().filter(|o| o.seen.is_err()).map(|o| format!("{o:?}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
