//! The ranges that cluster addresses come from: those of `ServiceCIDR` objects (upstream
//! `pkg/registry/core/service/ipallocator/cidrallocator.go`).

use crate::server::Api;
use crate::validation::service::family_of;
use ipnet::IpNet;
use kaji_api::{GroupResource, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const RANGES: GroupResource = GroupResource::of("networking.k8s.io", "servicecidrs");

/// Ranges that addresses are given out of, the configured one first: those of objects that are ready and are to stay.
pub(super) fn ready(api: &Api) -> Vec<IpNet> {
    let own = api.config().service_range.trunc();
    let objects = api.list_cached(&RANGES, "");
    let mut ranges: Vec<IpNet> = objects.iter().filter(|o| is_ready(o)).flat_map(|o| of(o)).collect();
    // The sort is stable: objects come by name.
    ranges.sort_by_key(|range| *range != own);
    ranges.dedup();
    ranges
}

/// Whether an address may be a service's by any range there is, ready or not.
pub(crate) fn any_has(api: &Api, address: IpAddr) -> bool {
    api.list_cached(&RANGES, "").iter().flat_map(|o| of(o)).any(|range| usable(range, address))
}

fn is_ready(object: &Value) -> bool {
    let mut conditions = object["status"]["conditions"].items().iter();
    !object.is_deleting() && conditions.any(|c| c["type"].str() == "Ready" && c["status"].str() == "True")
}

fn of(object: &Value) -> impl Iterator<Item = IpNet> {
    object["spec"]["cidrs"].items().iter().filter_map(|c| c.str().parse::<IpNet>().ok()).map(|net| net.trunc())
}

/// `IPv4` or `IPv6`.
pub(super) fn family_of_range(range: &IpNet) -> &'static str {
    family_of(range.addr())
}

/// First and last address that services may have.
fn bounds(range: IpNet) -> Option<(u128, u128)> {
    let (network, broadcast) = (number(range.network()), number(range.broadcast()));
    let last = if range.addr().is_ipv4() { broadcast.checked_sub(1)? } else { broadcast };
    (network < last).then(|| (network + 1, last))
}

pub(super) fn usable(range: IpNet, address: IpAddr) -> bool {
    address.is_ipv4() == range.addr().is_ipv4()
        && bounds(range).is_some_and(|(first, last)| (first..=last).contains(&number(address)))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u32::from(a).into(),
        IpAddr::V6(a) => a.into(),
    }
}

fn address(range: IpNet, n: u128) -> IpAddr {
    match range {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(n).expect("within an IPv4 range")).into(),
        IpNet::V6(_) => Ipv6Addr::from(n).into(),
    }
}

/// The lower part of a range is left to addresses that are asked for, until the rest is used up:
/// a sixteenth of it, at least 16 and at most 256 addresses.
fn reserved(size: u128) -> u128 {
    if size <= 16 { 0 } else { (size / 16).clamp(16, 256) }
}

/// Every address of a range once: the upper part from a random start, then the lower one.
pub(super) fn candidates(range: IpNet, random: u64) -> impl Iterator<Item = IpAddr> {
    let (first, last) = bounds(range).unwrap_or((1, 0));
    let border = first + reserved(number(range.broadcast()) - number(range.network()) + 1);
    let around = move |from: u128, to: u128| {
        let size = (to + 1).saturating_sub(from);
        (0..size).map(move |i| from + (u128::from(random) % size + i) % size)
    };
    around(border, last).chain(around(first, border.min(last + 1).saturating_sub(1))).map(move |n| address(range, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_address_once_and_the_low_ones_last() {
        let range: IpNet = "10.0.0.0/24".parse().unwrap();
        let all: Vec<IpAddr> = candidates(range, 12345).collect();
        assert_eq!(all.len(), 254);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 254);
        let low = |ip: &IpAddr| number(*ip) & 0xff <= 16;
        assert!(all[..238].iter().all(|ip| !low(ip)) && all[238..].iter().all(low));
        assert!(!usable(range, "10.0.0.0".parse().unwrap()) && !usable(range, "10.0.0.255".parse().unwrap()));
        let tiny: IpNet = "10.0.0.0/30".parse().unwrap();
        assert_eq!(candidates(tiny, 9).count(), 2);
        let six: IpNet = "fd00::/120".parse().unwrap();
        assert_eq!(candidates(six, 7).count(), 255);
    }
}
