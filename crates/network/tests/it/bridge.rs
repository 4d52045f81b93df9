//! Interfaces of the node.

use super::world::{World, possible, within_async};
use kaji_network::bridge::{self, Error};
use std::process::Command;

fn addresses(world: &World, name: &str) -> String {
    let output = Command::new("ip").args(["-n", &world.host, "-o", "-4", "addr", "show", "dev", name]).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

#[test]
fn interfaces_are_made_corrected_and_removed() {
    if !possible("interfaces_are_made_corrected_and_removed") {
        return;
    }
    let world = World::new(0);
    within_async(&world.host, async || {
        let dns = ["10.96.0.10".parse().unwrap()];
        bridge::ensure_dummy("kj-dns", &dns).await.unwrap();
        bridge::ensure_dummy("kj-dns", &dns).await.unwrap();
        assert!(addresses(&world, "kj-dns").contains("10.96.0.10/32"));
        bridge::ensure_dummy("kj-dns", &["10.96.0.11".parse().unwrap()]).await.unwrap();
        assert!(!addresses(&world, "kj-dns").contains("10.96.0.10/32"));

        let moved = ["10.244.7.0/24".parse().unwrap()];
        assert_eq!(
            bridge::ensure("kj-br1", &moved).await.unwrap(),
            ["10.244.7.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert!(addresses(&world, "kj-br1").contains("10.244.7.1/24"));
        assert!(matches!(bridge::ensure("lo", &moved).await, Err(Error::Taken { .. })));

        bridge::remove("kj-dns").await.unwrap();
        bridge::remove("kj-dns").await.unwrap();
        assert_eq!(addresses(&world, "kj-dns"), "");
    });
}
