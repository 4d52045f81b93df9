//! Node ports: each that is taken is a key of its own in the store, so that one transaction takes all ports
//! of a service or none, whoever else is at it.
//!
//! A port whose service is gone (the server died between taking it and storing the service) is taken over
//! by the next one who wants it.

use super::invalid;
use crate::cache::store_status;
use crate::server::Api;
use crate::validation::At;
use crate::validation::service::needs_health_check;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use kaji_api::field::Errors;
use kaji_api::{GroupResource, Status, Value, value};
use kaji_store::{Change, Committed, Expect, Range, Record};
use std::collections::BTreeMap;

const PREFIX: &str = "/registry/ranges/servicenodeports/";
const SERVICES: GroupResource = GroupResource::of("", "services");
const ALLOCATED: &str = "provided port is already allocated";
const ATTEMPTS: usize = 20;
/// How long a port may be taken without its service being there.
const ORPHANED_SECONDS: i64 = 60;

/// Where in the service a port is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Port(usize),
    HealthCheck,
}

#[derive(Clone, Copy, Debug)]
struct Want {
    place: Place,
    /// The number, where one is asked for.
    number: Option<u16>,
}

/// What a service holds: node ports and the health check's.
fn held(obj: &Value) -> Vec<u16> {
    let spec = &obj["spec"];
    let mut all: Vec<u16> = Vec::new();
    if matches!(spec["type"].str(), "NodePort" | "LoadBalancer") {
        all.extend(spec["ports"].items().iter().filter_map(|p| number(&p["nodePort"])));
    }
    if needs_health_check(obj) {
        all.extend(number(&spec["healthCheckNodePort"]));
    }
    all
}

fn number(v: &Value) -> Option<u16> {
    v.as_i64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0)
}

/// What the service must still get. Ports of one number and several protocols share their node port.
fn wanted(obj: &mut Value, kept: &[u16], new: bool) -> Vec<Want> {
    let kind = obj["spec"]["type"].str().to_owned();
    let automatic = match kind.as_str() {
        "NodePort" => true,
        "LoadBalancer" => obj["spec"]["allocateLoadBalancerNodePorts"].bool(),
        _ => false,
    };
    let mut wants: Vec<Want> = Vec::new();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        if new {
            share(obj);
        }
        let ports = obj["spec"]["ports"].items();
        for (i, port) in ports.iter().enumerate() {
            let shares = new && ports[..i].iter().any(|p| p["port"] == port["port"]);
            match number(&port["nodePort"]) {
                Some(n) if kept.contains(&n) || wants.iter().any(|w| w.number == Some(n)) => {}
                Some(n) => wants.push(Want { place: Place::Port(i), number: Some(n) }),
                None if automatic && !shares => wants.push(Want { place: Place::Port(i), number: None }),
                None => {}
            }
        }
    }
    if needs_health_check(obj) {
        let asked = number(&obj["spec"]["healthCheckNodePort"]);
        if asked.is_none_or(|n| !kept.contains(&n)) {
            wants.push(Want { place: Place::HealthCheck, number: asked });
        }
    }
    wants
}

/// In a new service, the node port of one protocol of a port goes for its other protocols too.
fn share(obj: &mut Value) {
    let asked: Vec<(Value, Value)> = obj["spec"]["ports"]
        .items()
        .iter()
        .filter(|p| number(&p["nodePort"]).is_some())
        .map(|p| (p["port"].clone(), p["nodePort"].clone()))
        .collect();
    for port in obj.entry("spec").get_mut("ports").map(Value::items_mut).unwrap_or_default() {
        if number(&port["nodePort"]).is_none()
            && let Some((_, number)) = asked.iter().find(|(of, _)| *of == port["port"])
        {
            port.set("nodePort", number.clone());
        }
    }
}

fn refused(obj: &Value, want: Want, number: u16, why: &str) -> Status {
    match want.place {
        Place::Port(i) => {
            let mut e = Errors::new();
            let at = At::root(obj).fields(&["spec", "ports"]).index(i).field("nodePort");
            at.invalid_as(&mut e, i64::from(number), why);
            invalid(obj, &e)
        }
        Place::HealthCheck => {
            Status::internal(format!("failed to allocate requested HealthCheck NodePort {number}: {why}"))
        }
    }
}

/// Takes what the service needs and writes it in.
pub(super) async fn take(api: &Api, dry_run: bool, obj: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    let kept = old.map(held).unwrap_or_default();
    let wants = wanted(obj, &kept, old.is_none());
    if wants.is_empty() {
        return Ok(());
    }
    let (low, high) = api.config().node_ports;
    for want in &wants {
        if let Some(n) = want.number.filter(|n| !(low..=high).contains(n)) {
            let why = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
            return Err(refused(obj, *want, n, &why));
        }
    }
    for _ in 0..ATTEMPTS {
        let taken = taken(api).await?;
        let chosen = choose(api, obj, &wants, &taken, dry_run)?;
        if dry_run || take_all(api, obj, &chosen, &taken).await? {
            write(obj, &wants, &chosen);
            if old.is_none() {
                share(obj);
            }
            return Ok(());
        }
    }
    Err(Status::internal("failed to allocate a nodePort: too many others did so at the same time"))
}

/// All ports that are taken.
async fn taken(api: &Api) -> Result<BTreeMap<u16, Record>, Status> {
    let records = api.caches().store().range(Range::prefix(PREFIX)).await.map_err(store_status)?.records;
    Ok(records.into_iter().filter_map(|r| Some((r.key.strip_prefix(PREFIX)?.parse().ok()?, r))).collect())
}

/// A number for each want, free or left behind.
fn choose(
    api: &Api,
    obj: &Value,
    wants: &[Want],
    taken: &BTreeMap<u16, Record>,
    dry_run: bool,
) -> Result<Vec<u16>, Status> {
    let free = |n: u16| taken.get(&n).is_none_or(|record| is_orphaned(api, n, record));
    let mut chosen: Vec<u16> = wants.iter().filter_map(|w| w.number).collect();
    let mut out = Vec::new();
    for want in wants {
        let number = match want.number {
            Some(n) if free(n) => n,
            Some(n) => return Err(refused(obj, *want, n, ALLOCATED)),
            None => {
                let mut all = candidates(api.config().node_ports, dry_run);
                let number = all.find(|n| !chosen.contains(n) && free(*n));
                number.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?
            }
        };
        chosen.push(number);
        out.push(number);
    }
    Ok(out)
}

/// Every port of the range once: most of it from a random start, then the lower part, which is left to ports
/// that are asked for (a thirty-second of the range, at least 16 and at most 128). Dry runs show a fixed guess.
fn candidates((low, high): (u16, u16), dry_run: bool) -> impl Iterator<Item = u16> {
    let size = u32::from(high - low) + 1;
    let reserved = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
    let mut bytes = [0u8; 4];
    SystemRandom::new().fill(&mut bytes).expect("the system's random numbers are there");
    let random = u32::from_le_bytes(bytes);
    let around = move |from: u32, size: u32| (0..size).map(move |i| from + (random % size.max(1) + i) % size);
    let guess = dry_run.then_some(32_769..=u16::MAX).into_iter().flatten();
    let real = around(reserved, size - reserved).chain(around(0, reserved));
    guess.chain(real.map(move |n| low + u16::try_from(n).expect("within the range")))
}

/// Taken long ago for a service that is not there, or has given it up.
fn is_orphaned(api: &Api, port: u16, record: &Record) -> bool {
    let Ok(claim) = serde_json::from_slice::<Value>(&record.value) else { return true };
    let old = claim["since"]
        .str()
        .parse::<Timestamp>()
        .is_ok_and(|since| Timestamp::now().as_second() - since.as_second() > ORPHANED_SECONDS);
    let (namespace, name) = (claim["namespace"].str(), claim["name"].str());
    old && api.get_cached(&SERVICES, namespace, name).is_none_or(|service| !held(&service).contains(&port))
}

fn key(port: u16) -> String {
    format!("{PREFIX}{port}")
}

/// False when somebody was faster.
async fn take_all(api: &Api, obj: &Value, ports: &[u16], seen: &BTreeMap<u16, Record>) -> Result<bool, Status> {
    let mut expect = Vec::new();
    let orphans = ports.iter().filter_map(|p| Some((*p, seen.get(p)?)));
    for (i, (port, record)) in orphans.enumerate() {
        if i == 0 {
            // The service may have been stored by another server a moment ago.
            api.fresh().await?;
        }
        if !is_orphaned(api, port, record) {
            return Ok(false);
        }
        // A record that cannot be read names no service.
        let Ok(claim) = serde_json::from_slice::<Value>(&record.value) else { continue };
        let owner = api.entry(&SERVICES, claim["namespace"].str(), claim["name"].str());
        expect.extend(owner.map(|(key, service)| Expect { key, mod_revision: service.map_or(0, |s| s.revision) }));
    }
    // Two ports may have been left behind by one service.
    expect.sort_by(|a: &Expect, b| a.key.cmp(&b.key));
    expect.dedup_by(|a, b| a.key == b.key);
    commit(api, obj, ports, seen, expect).await
}

/// The ports that `obj` has taken since `old` are still its own.
pub(super) async fn guards(api: &Api, obj: &Value, old: Option<&Value>) -> Result<Vec<Expect>, Status> {
    let kept = old.map(held).unwrap_or_default();
    let mut new: Vec<u16> = held(obj).into_iter().filter(|p| !kept.contains(p)).collect();
    new.sort_unstable();
    new.dedup();
    let mut expect = Vec::new();
    for port in new {
        let record = api.caches().store().get(&key(port)).await.map_err(store_status)?;
        match record.filter(|r| is_owner(r, obj)) {
            Some(record) => expect.push(Expect { key: key(port), mod_revision: record.mod_revision }),
            None => return Err(super::lost(obj, &format!("node port {port}"))),
        }
    }
    Ok(expect)
}

fn is_owner(record: &Record, service: &Value) -> bool {
    let claim: Value = serde_json::from_slice(&record.value).unwrap_or_default();
    claim["namespace"].str() == service.namespace() && claim["name"].str() == service.name()
}

/// False when somebody was faster.
async fn commit(
    api: &Api,
    obj: &Value,
    ports: &[u16],
    seen: &BTreeMap<u16, Record>,
    mut expect: Vec<Expect>,
) -> Result<bool, Status> {
    let claim = value!({
        "namespace": (obj.namespace()),
        "name": (obj.name()),
        "since": (super::super::now()),
    });
    let claim: bytes::Bytes = serde_json::to_vec(&claim).expect("a value serialises to memory").into();
    let mod_revision = |port: &u16| seen.get(port).map_or(0, |r| r.mod_revision);
    expect.extend(ports.iter().map(|p| Expect { key: key(*p), mod_revision: mod_revision(p) }));
    let changes = ports.iter().map(|p| Change::Put(key(*p), claim.clone())).collect();
    let done = api.caches().store().commit(expect, changes).await.map_err(store_status)?;
    Ok(matches!(done, Committed::Yes(_)))
}

fn write(obj: &mut Value, wants: &[Want], ports: &[u16]) {
    let spec = obj.entry("spec");
    for (want, port) in wants.iter().zip(ports) {
        match want.place {
            Place::HealthCheck => spec.set("healthCheckNodePort", i64::from(*port)),
            Place::Port(i) => {
                let all = spec.get_mut("ports").map(Value::items_mut).unwrap_or_default();
                all[i].set("nodePort", i64::from(*port));
            }
        }
    }
}

/// Gives back what `obj` has and `new` hasn't.
pub(super) async fn give_back(api: &Api, obj: &Value, new: Option<&Value>) {
    let kept = new.map(held).unwrap_or_default();
    for port in held(obj).into_iter().filter(|port| !kept.contains(port)) {
        if let Err(status) = give_back_one(api, obj, port).await {
            tracing::warn!(port, %status, "could not release a service's node port");
        }
    }
}

async fn give_back_one(api: &Api, obj: &Value, port: u16) -> Result<(), Status> {
    let store = api.caches().store();
    let Some(record) = store.get(&key(port)).await.map_err(store_status)? else { return Ok(()) };
    if !is_owner(&record, obj) {
        return Ok(());
    }
    let expect = vec![Expect { key: key(port), mod_revision: record.mod_revision }];
    store.commit(expect, vec![Change::Delete(key(port))]).await.map_err(store_status)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_cover_the_range() {
        let mut all: Vec<u16> = candidates((30_000, 32_767), false).collect();
        assert!(all[..2682].iter().all(|n| *n >= 30_086));
        all.sort_unstable();
        assert_eq!(all, (30_000..=32_767).collect::<Vec<u16>>());
        assert_eq!(candidates((30_000, 30_007), false).count(), 8);
        assert_eq!(candidates((30_000, 32_767), true).next(), Some(32_769));
    }

    #[test]
    fn wants() {
        let port =
            |port: i64, node: i64, protocol: &str| value!({"port": port, "nodePort": node, "protocol": protocol});
        let ports = vec![port(53, 30_053, "TCP"), port(53, 0, "UDP"), port(80, 0, "TCP")];
        let mut obj = value!({"spec": {"type": "NodePort", "ports": (ports)}});
        let numbers: Vec<Option<u16>> = wanted(&mut obj, &[], true).iter().map(|w| w.number).collect();
        assert_eq!(numbers, [Some(30_053), None]);
        assert_eq!(obj["spec"]["ports"].items()[1]["nodePort"].as_i64(), Some(30_053));
        obj.entry("spec").set("type", "ClusterIP");
        assert!(wanted(&mut obj, &[], true).is_empty());
        let ports = vec![port(53, 0, "TCP"), port(53, 0, "UDP")];
        let mut obj = value!({"spec": {"type": "NodePort", "ports": (ports)}});
        assert_eq!(wanted(&mut obj, &[], true).len(), 1);
        assert_eq!(wanted(&mut obj, &[], false).len(), 2);
    }
}
