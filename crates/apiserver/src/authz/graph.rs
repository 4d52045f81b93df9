//! Which objects the pods of a node refer to: what the Node authorizer decides by.
//!
//! Pods are what binds objects to nodes; volumes reach them through the claim that they are bound to. The graph
//! follows the stored objects at the next question after a change. Pod updates that change no reference are told
//! apart without decoding them.

use super::objects::{Change, Feed, News, Object, Objects};
use kaji_api::Value;
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet};

/// The kinds of object that a node may get hold of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    ServiceAccount,
    Pod,
    Volume,
    Attachment,
    Slice,
}

type Name = (String, String);

/// The graph and its places in the changes.
pub(super) struct Graph(RwLock<State>);

struct State {
    feeds: Vec<(&'static str, Box<dyn Feed>)>,
    edges: Edges,
}

#[derive(Default)]
struct Edges {
    pods: HashMap<Name, Pod>,
    /// How many pods of which node refer to an object.
    references: HashMap<(Kind, Name), HashMap<String, usize>>,
    volumes: HashMap<String, Volume>,
    /// The volumes that need a secret.
    secret_volumes: HashMap<Name, HashSet<String>>,
    attachments: HashMap<String, String>,
    slices: HashMap<String, String>,
}

struct Pod {
    node: String,
    references: HashSet<(Kind, Name)>,
}

struct Volume {
    claim: Name,
    secrets: Vec<Name>,
}

const PREFIXES: [&str; 4] = ["pods", "persistentvolumes", "volumeattachments", "resourceslices"];

impl Graph {
    /// Over stored objects.
    pub(super) fn new(objects: &dyn Objects) -> Self {
        let feeds = PREFIXES.iter().map(|prefix| (*prefix, objects.follow(prefix))).collect();
        Graph(RwLock::new(State { feeds, edges: Edges::default() }))
    }

    /// Whether there is a way from an object to a node.
    pub(super) fn leads(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        {
            let state = self.0.read();
            if !state.feeds.iter().any(|(_, f)| f.has_news()) {
                return state.edges.leads(node, kind, namespace, name);
            }
        }
        let mut state = self.0.write();
        let State { feeds, edges } = &mut *state;
        for (prefix, feed) in feeds.iter_mut().filter(|(_, f)| f.has_news()) {
            edges.learn(prefix, feed.news());
        }
        edges.leads(node, kind, namespace, name)
    }
}

impl Edges {
    fn leads(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        match kind {
            Kind::Attachment => self.attachments.get(name).is_some_and(|n| n == node),
            Kind::Slice => self.slices.get(name).is_some_and(|n| n == node),
            Kind::Volume => self.volumes.get(name).is_some_and(|v| self.refers(node, Kind::Claim, &v.claim)),
            Kind::Secret => self.refers(node, kind, &key) || self.by_volume(node, &key),
            _ => self.refers(node, kind, &key),
        }
    }

    fn refers(&self, node: &str, kind: Kind, name: &Name) -> bool {
        self.references.get(&(kind, name.clone())).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn by_volume(&self, node: &str, secret: &Name) -> bool {
        let volumes = self.secret_volumes.get(secret).into_iter().flatten();
        volumes.filter_map(|v| self.volumes.get(v)).any(|v| self.refers(node, Kind::Claim, &v.claim))
    }

    fn learn(&mut self, prefix: &str, news: News) {
        let changes = match news {
            News::Changes(changes) => changes,
            News::All(changes) => {
                self.forget(prefix);
                changes
            }
        };
        for Change { namespace, name, object } in changes {
            match prefix {
                "pods" => self.set_pod((namespace, name), object),
                "persistentvolumes" => self.set_volume(name, object.map(|o| o.value())),
                "volumeattachments" => set(&mut self.attachments, name, object),
                _ => set(&mut self.slices, name, object),
            }
        }
    }

    fn forget(&mut self, prefix: &str) {
        match prefix {
            "pods" => {
                self.pods.clear();
                self.references.clear();
            }
            "persistentvolumes" => {
                self.volumes.clear();
                self.secret_volumes.clear();
            }
            "volumeattachments" => self.attachments.clear(),
            _ => self.slices.clear(),
        }
    }

    fn set_pod(&mut self, key: Name, object: Option<Object>) {
        if let (Some(_), Some(object)) = (self.pods.get(&key), &object)
            && !object.may_refer_anew()
        {
            return;
        }
        if let Some(old) = self.pods.remove(&key) {
            for reference in old.references {
                self.unlink(reference, &old.node);
            }
        }
        let Some(pod) = object.map(|o| o.value()) else { return };
        let node = pod["spec"]["nodeName"].str().to_owned();
        if node.is_empty() {
            return;
        }
        let references = references(&key, &pod);
        for reference in &references {
            *self.references.entry(reference.clone()).or_default().entry(node.clone()).or_default() += 1;
        }
        self.pods.insert(key, Pod { node, references });
    }

    fn unlink(&mut self, reference: (Kind, Name), node: &str) {
        let Some(nodes) = self.references.get_mut(&reference) else { return };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.references.remove(&reference);
        }
    }

    fn set_volume(&mut self, name: String, object: Option<Value>) {
        if let Some(old) = self.volumes.remove(&name) {
            for secret in old.secrets {
                if let Some(volumes) = self.secret_volumes.get_mut(&secret) {
                    volumes.remove(&name);
                    if volumes.is_empty() {
                        self.secret_volumes.remove(&secret);
                    }
                }
            }
        }
        let Some(spec) = object.as_ref().map(|o| &o["spec"]) else { return };
        let claim = &spec["claimRef"];
        if claim.is_null() {
            return;
        }
        let claim = (claim["namespace"].str().to_owned(), claim["name"].str().to_owned());
        let secrets = volume_secrets(spec, &claim.0);
        for secret in &secrets {
            self.secret_volumes.entry(secret.clone()).or_default().insert(name.clone());
        }
        self.volumes.insert(name, Volume { claim, secrets });
    }
}

impl Object {
    /// False: an update of a bound pod that changed no reference. What a pod refers to is fixed once it is
    /// bound, but for ephemeral containers and the names of its resource claims.
    fn may_refer_anew(&self) -> bool {
        const GROWING: [&[u8]; 3] =
            [b"\"ephemeralContainers\":", b"\"resourceClaimStatuses\":", b"\"extendedResourceClaimStatus\":"];
        match self {
            Object::Stored(entry) => GROWING.iter().any(|text| entry.json.windows(text.len()).any(|w| w == *text)),
            #[cfg(any(test, feature = "properties"))]
            Object::Plain(_) => true,
        }
    }
}

fn set(map: &mut HashMap<String, String>, name: String, object: Option<Object>) {
    let node = object.map(|o| o.value()["spec"]["nodeName"].str().to_owned()).filter(|n| !n.is_empty());
    match node {
        Some(node) => map.insert(name, node),
        None => map.remove(&name),
    };
}

/// What a bound pod refers to, itself included.
fn references(key: &Name, pod: &Value) -> HashSet<(Kind, Name)> {
    let mut names: Vec<(Kind, String)> = Vec::new();
    // A mirror pod must not open anything to the node that made it.
    if pod.annotation("kubernetes.io/config.mirror").is_none() {
        names.push((Kind::ServiceAccount, pod["spec"]["serviceAccountName"].str().to_owned()));
        visit_containers(&pod["spec"], &mut names);
        visit_volumes(key, &pod["spec"], &mut names);
        visit_resource_claims(pod, &mut names);
    }
    let named = names.into_iter().filter(|(_, name)| !name.is_empty());
    let mut all: HashSet<(Kind, Name)> = named.map(|(kind, name)| (kind, (key.0.clone(), name))).collect();
    all.insert((Kind::Pod, key.clone()));
    all
}

fn visit_containers(spec: &Value, names: &mut Vec<(Kind, String)>) {
    let mut add = |kind, value: &Value| names.push((kind, value["name"].str().to_owned()));
    spec["imagePullSecrets"].items().iter().for_each(|s| add(Kind::Secret, s));
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    for container in lists.iter().flat_map(|list| spec[*list].items()) {
        for source in container["envFrom"].items() {
            add(Kind::Secret, &source["secretRef"]);
            add(Kind::ConfigMap, &source["configMapRef"]);
        }
        for variable in container["env"].items() {
            add(Kind::Secret, &variable["valueFrom"]["secretKeyRef"]);
            add(Kind::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]);
        }
    }
}

/// Volume sources with a `secretRef`.
const SECRET_REFS: [&str; 7] = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];

fn visit_volumes(key: &Name, spec: &Value, names: &mut Vec<(Kind, String)>) {
    for volume in spec["volumes"].items() {
        let mut add = |kind, name: &Value| names.push((kind, name.str().to_owned()));
        add(Kind::Secret, &volume["secret"]["secretName"]);
        add(Kind::Secret, &volume["azureFile"]["secretName"]);
        add(Kind::Secret, &volume["csi"]["nodePublishSecretRef"]["name"]);
        SECRET_REFS.iter().for_each(|source| add(Kind::Secret, &volume[*source]["secretRef"]["name"]));
        add(Kind::ConfigMap, &volume["configMap"]["name"]);
        for source in volume["projected"]["sources"].items() {
            add(Kind::Secret, &source["secret"]["name"]);
            add(Kind::ConfigMap, &source["configMap"]["name"]);
        }
        add(Kind::Claim, &volume["persistentVolumeClaim"]["claimName"]);
        if !volume["ephemeral"].is_null() {
            names.push((Kind::Claim, format!("{}-{}", key.1, volume["name"].str())));
        }
    }
}

fn visit_resource_claims(pod: &Value, names: &mut Vec<(Kind, String)>) {
    let statuses = pod["status"]["resourceClaimStatuses"].items();
    for claim in pod["spec"]["resourceClaims"].items() {
        let made = statuses.iter().find(|s| s["name"] == claim["name"]).map(|s| s["resourceClaimName"].str());
        let name = claim["resourceClaimName"].as_str().or(made).unwrap_or_default();
        names.push((Kind::ResourceClaim, name.to_owned()));
    }
    let extended = pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"].str();
    names.push((Kind::ResourceClaim, extended.to_owned()));
}

/// The secrets of a volume that a kubelet needs.
fn volume_secrets(spec: &Value, claim_namespace: &str) -> Vec<Name> {
    let mut secrets = Vec::new();
    let mut add = |namespace: &Value, name: &Value| {
        let namespace = match namespace.str() {
            "" => claim_namespace,
            own => own,
        };
        if !name.str().is_empty() {
            secrets.push((namespace.to_owned(), name.str().to_owned()));
        }
    };
    add(&spec["azureFile"]["secretNamespace"], &spec["azureFile"]["secretName"]);
    for source in SECRET_REFS {
        let reference = &spec[source]["secretRef"];
        add(&reference["namespace"], &reference["name"]);
    }
    for role in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        let reference = &spec["csi"][role];
        add(&reference["namespace"], &reference["name"]);
    }
    secrets
}
