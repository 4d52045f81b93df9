//! Cluster addresses: each is an `IPAddress` object, so that two API servers can't give out the same one.

use super::invalid;
use super::ranges::{candidates, family_of_range, ready, usable};
use crate::cache::store_status;
use crate::context::RequestContext;
use crate::server::Api;
use crate::validation::service::family_of;
use crate::validation::{At, ip};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ipnet::IpNet;
use jiff::Timestamp;
use kaji_api::field::Errors;
use kaji_api::{GroupResource, ObjectKey, Status, Value, value};
use kaji_store::{Change, Committed, Expect};
use std::net::IpAddr;

pub(crate) const RESOURCE: GroupResource = GroupResource::of("networking.k8s.io", "ipaddresses");
pub(crate) const SERVICES: GroupResource = GroupResource::of("", "services");
/// How long an address may be taken without its service being there.
pub(crate) const ORPHANED_SECONDS: i64 = 60;
const ALLOCATED: &str = "provided IP is already allocated";

/// The cluster's address families, the default one first.
pub(super) fn families(api: &Api) -> Vec<&'static str> {
    let mut all = vec![family_of_range(&api.config().service_range)];
    for range in ready(api) {
        let family = family_of_range(&range);
        if !all.contains(&family) {
            all.push(family);
        }
    }
    all
}

/// Addresses of a service; none for `None` and for services that are names.
pub(crate) fn held(obj: &Value) -> Vec<IpAddr> {
    if obj["spec"]["type"].str() == "ExternalName" {
        return Vec::new();
    }
    obj["spec"]["clusterIPs"].items().iter().filter_map(|a| ip::sloppy(a.str())).collect()
}

/// Takes an address per family: the one asked for, or any that is free.
pub(super) async fn take(api: &Api, dry_run: bool, obj: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    let spec = &obj["spec"];
    let asked: Vec<String> = spec["clusterIPs"].items().iter().map(|a| a.str().to_owned()).collect();
    if spec["type"].str() == "ExternalName" || asked.first().is_some_and(|a| a == "None") {
        return Ok(());
    }
    let kept = old.map(held).unwrap_or_default();
    let families: Vec<String> = spec["ipFamilies"].items().iter().map(|f| f.str().to_owned()).collect();
    let mut got: Vec<String> = Vec::new();
    for (i, family) in families.iter().enumerate() {
        let one = match asked.get(i).filter(|a| !a.is_empty()) {
            Some(text) if ip::sloppy(text).is_some_and(|a| kept.contains(&a)) => Ok(text.clone()),
            Some(text) => take_one(api, dry_run, obj, text).await.map(|()| text.clone()),
            None => take_any(api, dry_run, obj, family).await,
        };
        match one {
            Ok(address) => got.push(address),
            Err(status) => {
                give_back_list(api, obj, &new_ones(&got, &kept)).await;
                return Err(status);
            }
        }
    }
    if let Some(first) = got.first().cloned() {
        let spec = obj.entry("spec");
        spec.set("clusterIP", first);
        spec.set("clusterIPs", got);
    }
    Ok(())
}

fn new_ones(got: &[String], kept: &[IpAddr]) -> Vec<IpAddr> {
    got.iter().filter_map(|a| ip::sloppy(a)).filter(|a| !kept.contains(a)).collect()
}

fn refused(obj: &Value, why: &str) -> Status {
    let mut e = Errors::new();
    At::root(obj).fields(&["spec", "clusterIPs"]).invalid_as(&mut e, obj["spec"]["clusterIPs"].clone(), why);
    invalid(obj, &e)
}

async fn take_one(api: &Api, dry_run: bool, obj: &Value, text: &str) -> Result<(), Status> {
    let address = ip::sloppy(text).ok_or_else(|| Status::internal(format!("failed to parse service IP \"{text}\"")))?;
    let all = ready(api);
    let own = all.iter().find(|range| range.contains(&address));
    let why = if own.is_none() {
        "the provided network does not match the current range".to_owned()
    } else if let Some(own) = own.filter(|_| !all.iter().any(|range| usable(*range, address))) {
        format!("the provided IP ({address}) is not in the valid range. The range of valid IPs is {own}")
    } else if dry_run || create(api, obj, address).await? || take_over(api, obj, address).await? {
        return Ok(());
    } else {
        ALLOCATED.to_owned()
    };
    Err(refused(obj, &format!("failed to allocate IP {text}: {why}")))
}

async fn take_any(api: &Api, dry_run: bool, obj: &Value, family: &str) -> Result<String, Status> {
    let all = ready(api);
    let own: Vec<IpNet> = all.into_iter().filter(|r| family_of_range(r) == family).collect();
    if dry_run && let Some(range) = own.first() {
        // A dry run takes nothing and says so by an address that no service can have.
        return Ok(range.network().to_string());
    }
    for range in &own {
        for address in candidates(*range, random()) {
            let taken = api.get_cached(&RESOURCE, "", &address.to_string()).is_some();
            if !taken && create(api, obj, address).await? {
                return Ok(address.to_string());
            }
        }
    }
    for claim in api.list_cached(&RESOURCE, "") {
        let Some(address) = ip::sloppy(claim.name()).filter(|a| own.iter().any(|range| usable(*range, *a))) else {
            continue;
        };
        if is_old(&claim) && take_over(api, obj, address).await? {
            return Ok(address.to_string());
        }
    }
    Err(Status::internal(format!("failed to allocate a serviceIP for Service \"{}\": range is full", obj.name())))
}

fn random() -> u64 {
    let mut bytes = [0u8; 8];
    SystemRandom::new().fill(&mut bytes).expect("the system's random numbers are there");
    u64::from_le_bytes(bytes)
}

/// The claim of a service to an address.
fn claim(obj: &Value, address: IpAddr) -> Value {
    value!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": (address.to_string()),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": (family_of(address)),
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {
                "resource": "services",
                "namespace": (obj.namespace()),
                "name": (obj.name()),
            },
        },
    })
}

/// Claims an address for a service; false when somebody has it.
pub(crate) async fn create(api: &Api, obj: &Value, address: IpAddr) -> Result<bool, Status> {
    match api.create(&RequestContext::system(), &RESOURCE, claim(obj, address)).await {
        Ok(_) => Ok(true),
        Err(status) if status.reason == "AlreadyExists" => Ok(false),
        Err(status) => Err(status),
    }
}

fn is_old(claim: &Value) -> bool {
    let since = claim.meta("creationTimestamp").parse::<Timestamp>();
    since.is_ok_and(|since| Timestamp::now().as_second() - since.as_second() > ORPHANED_SECONDS)
}

pub(crate) fn is_owner(claim: &Value, service: &Value) -> bool {
    let parent = &claim["spec"]["parentRef"];
    parent["resource"].str() == "services"
        && parent["namespace"].str() == service.namespace()
        && parent["name"].str() == service.name()
}

/// Takes an address that was left behind.
async fn take_over(api: &Api, obj: &Value, address: IpAddr) -> Result<bool, Status> {
    Ok(free_orphan(api, address).await? && create(api, obj, address).await?)
}

/// Frees an address that was taken long ago for a service that is not there, or has given it up: the server died, or
/// lost sight of the store, in between. True: it is free now.
async fn free_orphan(api: &Api, address: IpAddr) -> Result<bool, Status> {
    let Some(entry) = api.get_stored(&RESOURCE, "", &address.to_string()).await? else { return Ok(true) };
    let claim = entry.decode();
    let parent = &claim["spec"]["parentRef"];
    if parent["resource"].str() != "services" || !is_old(&claim) {
        return Ok(false);
    }
    // The service may have been stored by another server a moment ago.
    api.fresh().await?;
    let Some((key, service)) = api.entry(&SERVICES, parent["namespace"].str(), parent["name"].str()) else {
        return Ok(false);
    };
    if service.as_ref().is_some_and(|s| held(&s.decode()).contains(&address)) {
        return Ok(false);
    }
    let expect = vec![
        Expect { key: entry.key.clone(), mod_revision: entry.revision },
        Expect { key, mod_revision: service.map_or(0, |s| s.revision) },
    ];
    let done =
        api.caches().store().commit(expect, vec![Change::Delete(entry.key.clone())]).await.map_err(store_status)?;
    Ok(matches!(done, Committed::Yes(_)))
}

/// The addresses that `obj` has taken since `old` are still its own.
pub(super) async fn guards(api: &Api, obj: &Value, old: Option<&Value>) -> Result<Vec<Expect>, Status> {
    let kept = old.map(held).unwrap_or_default();
    let mut expect = Vec::new();
    for address in held(obj).into_iter().filter(|a| !kept.contains(a)) {
        let claim = api.get_stored(&RESOURCE, "", &address.to_string()).await?;
        match claim.filter(|c| is_owner(&c.decode(), obj)) {
            Some(claim) => expect.push(Expect { key: claim.key.clone(), mod_revision: claim.revision }),
            None => return Err(super::lost(obj, &format!("cluster IP {address}"))),
        }
    }
    Ok(expect)
}

/// Gives back what `obj` has and `new` hasn't.
pub(super) async fn give_back(api: &Api, obj: &Value, new: Option<&Value>) {
    let kept = new.map(held).unwrap_or_default();
    let lost: Vec<IpAddr> = held(obj).into_iter().filter(|a| !kept.contains(a)).collect();
    give_back_list(api, obj, &lost).await;
}

async fn give_back_list(api: &Api, obj: &Value, addresses: &[IpAddr]) {
    for address in addresses {
        if let Err(status) = give_back_one(api, obj, *address).await
            && !matches!(status.code, 404 | 409)
        {
            tracing::warn!(%address, %status, "could not release a service's address");
        }
    }
}

/// Deletes the very claim that is the service's, as the store has it: another server may have given the address away.
async fn give_back_one(api: &Api, obj: &Value, address: IpAddr) -> Result<(), Status> {
    let name = address.to_string();
    let claim = api.get_stored(&RESOURCE, "", &name).await?.map(|c| c.decode());
    match claim.filter(|c| is_owner(c, obj)) {
        Some(claim) => {
            api.delete_uid(&RequestContext::system(), &RESOURCE, &ObjectKey::new("", name), claim.uid()).await
        }
        None => Ok(()),
    }
}
