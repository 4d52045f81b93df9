//! Volumes of pods, and sources that persistent volumes share with them.

use super::pod::Whole;
use super::{At, claim, env, labels, one_of_if_set, range_text};
use kaji_api::field::Errors;
use kaji_api::names;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";

type Check = fn(At<'_>, &mut Errors);

/// Sources in upstream's order: field, place that its errors name, check.
const SOURCES: &[(&str, &str, Check)] = &[
    ("emptyDir", "emptyDir", empty_dir),
    ("hostPath", "hostPath", host_path),
    ("gitRepo", "gitRepo", git_repo),
    ("gcePersistentDisk", "persistentDisk", gce_disk),
    ("awsElasticBlockStore", "awsElasticBlockStore", aws_disk),
    ("secret", "secret", secret),
    ("nfs", "nfs", nfs),
    ("iscsi", "iscsi", iscsi),
    ("glusterfs", "glusterfs", glusterfs),
    ("flocker", "flocker", flocker),
    ("persistentVolumeClaim", "persistentVolumeClaim", claim_name),
    ("rbd", "rbd", rbd),
    ("cinder", "cinder", cinder),
    ("cephfs", "cephfs", cephfs),
    ("quobyte", "quobyte", quobyte),
    ("downwardAPI", "downwardAPI", downward),
    ("fc", "fc", fibre_channel),
    ("flexVolume", "flexVolume", flex),
    ("configMap", "configMap", config_map),
    ("azureFile", "azureFile", azure_file),
    ("vsphereVolume", "vsphereVolume", vsphere),
    ("photonPersistentDisk", "photonPersistentDisk", photon),
    ("portworxVolume", "portworxVolume", portworx),
    ("azureDisk", "azureDisk", azure_disk),
    ("storageos", "storageos", storage_os),
    ("projected", "projected", projected),
    ("scaleIO", "scaleIO", scale_io),
    ("csi", "csi", csi),
    ("ephemeral", "ephemeral", claim::ephemeral),
    ("image", "image", image),
];

/// All volumes of a pod; notes the good ones in `whole` for the mounts to look up.
pub(crate) fn volumes<'a>(at: At<'a>, pod: &str, whole: &mut Whole<'a>, e: &mut Errors) {
    let ephemeral: Vec<String> = match pod {
        "" => Vec::new(),
        _ => at
            .items()
            .iter()
            .filter(|v| !v["ephemeral"].is_null())
            .map(|v| format!("{pod}-{}", v["name"].str()))
            .collect(),
    };
    for volume in at.list() {
        let before = e.0.len();
        source(volume, pod, whole.is_pod, e);
        let name = volume.field("name");
        name.check_required(e, names::dns1123_label);
        if whole.volumes.iter().any(|(n, _)| *n == name.str()) {
            name.duplicate(e);
        }
        if e.0.len() == before {
            whole.volumes.push((name.str(), volume.v));
        }
        let claim = volume.fields(&["persistentVolumeClaim", "claimName"]);
        if ephemeral.iter().any(|c| c == claim.str()) {
            claim.invalid(e, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
}

fn source(at: At<'_>, pod: &str, is_pod: bool, e: &mut Errors) {
    let mut found = false;
    for (name, place, check) in SOURCES {
        let source = at.field(name);
        if !source.is_set() {
            continue;
        }
        if found {
            let shown = match *name {
                "cephfs" => "cephFS",
                "downwardAPI" => "downwarAPI",
                other => other,
            };
            at.field(shown).forbidden(e, ONE_TYPE);
            continue;
        }
        found = true;
        check(at.field(place).with(source.v), e);
        if *name == "image" && is_pod {
            source.field("reference").need(e);
        }
        if *name == "ephemeral" && !pod.is_empty() {
            ephemeral_name(at, pod, e);
        }
    }
    if !found {
        at.required(e, "must specify a volume type");
    }
    let iscsi = &at["iscsi"];
    if !iscsi["initiatorName"].is_null() && at["name"].str().len() + 1 + iscsi["targetPortal"].str().len() > 64 {
        let text = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        at.field("name").invalid(e, text);
    }
}

fn ephemeral_name(at: At<'_>, pod: &str, e: &mut Errors) {
    let name = at.field("name");
    if name.str().is_empty() {
        return;
    }
    let claim = format!("{pod}-{}", name.str());
    for text in names::dns1123_subdomain(&claim) {
        name.invalid(e, &format!("PVC name \"{claim}\": {text}"));
    }
}

fn mode(at: At<'_>, e: &mut Errors) {
    if !(0..=0o777).contains(&at.i64()) {
        at.invalid(e, MODE);
    }
}

/// No `..` among the parts of a path.
pub(crate) fn no_backsteps(at: At<'_>, e: &mut Errors) {
    if has_backsteps(at.str()) {
        at.invalid(e, "must not contain '..'");
    }
}

/// Whether a path has `..` among its parts.
pub(crate) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A relative path that stays below where it starts.
pub(crate) fn descending(at: At<'_>, e: &mut Errors) {
    if at.str().starts_with('/') {
        at.invalid(e, "must be a relative path");
    }
    no_backsteps(at, e);
}

/// The same, and not a name that the writer of such volumes uses itself.
fn file_path(at: At<'_>, e: &mut Errors) {
    descending(at, e);
    if at.str().starts_with("..") && !at.str().starts_with("../") {
        at.invalid(e, "must not start with '..'");
    }
}

fn empty_dir(at: At<'_>, e: &mut Errors) {
    if super::resources::quantity(&at["sizeLimit"]).signum() < 0 {
        at.field("sizeLimit").forbidden(e, "SizeLimit field must be a valid resource quantity");
    }
}

/// A path on the node.
pub(crate) fn host_path(at: At<'_>, e: &mut Errors) {
    let path = at.field("path");
    if path.str().is_empty() {
        return path.required(e, "");
    }
    no_backsteps(path, e);
    let types = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    one_of_if_set(at.field("type"), e, &types);
}

fn git_repo(at: At<'_>, e: &mut Errors) {
    at.field("repository").need(e);
    descending(at.field("directory"), e);
}

fn partition(at: At<'_>, e: &mut Errors) {
    if !(0..=255).contains(&at.i64()) {
        at.invalid(e, &range_text(1, 255));
    }
}

pub(crate) fn gce_disk(at: At<'_>, e: &mut Errors) {
    at.field("pdName").need(e);
    partition(at.field("partition"), e);
}

pub(crate) fn aws_disk(at: At<'_>, e: &mut Errors) {
    at.field("volumeID").need(e);
    partition(at.field("partition"), e);
}

fn items(at: At<'_>, e: &mut Errors) {
    mode(at.field("defaultMode"), e);
    for item in at.field("items").list() {
        key_to_path(item, e);
    }
}

fn key_to_path(at: At<'_>, e: &mut Errors) {
    at.field("key").need(e);
    at.field("path").need(e);
    file_path(at.field("path"), e);
    mode(at.field("mode"), e);
}

fn secret(at: At<'_>, e: &mut Errors) {
    at.field("secretName").need(e);
    items(at, e);
}

fn config_map(at: At<'_>, e: &mut Errors) {
    at.field("name").need(e);
    items(at, e);
}

pub(crate) fn nfs(at: At<'_>, e: &mut Errors) {
    at.field("server").need(e);
    let path = at.field("path");
    path.need(e);
    if !path.str().starts_with('/') {
        path.invalid(e, "must be an absolute path");
    }
}

fn iqn(at: At<'_>, e: &mut Errors) {
    let s = at.str();
    let named = |kind: &str, len| {
        s.len() == len
            && s.is_char_boundary(4)
            && s.starts_with(kind)
            && s[4..].bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let fine = match s.get(..3) {
        Some("iqn") => s.starts_with("iqn.") && s.split_once(':').is_some_and(|(_, name)| !name.is_empty()),
        Some("eui") => named("eui", 20),
        Some("naa") => named("naa", 36),
        _ => return at.invalid(e, "must be valid format starting with iqn, eui, or naa"),
    };
    if !fine {
        at.invalid(e, "must be valid format");
    }
}

pub(crate) fn iscsi(at: At<'_>, e: &mut Errors) {
    at.field("targetPortal").need(e);
    if at["iqn"].str().is_empty() {
        at.field("iqn").required(e, "")
    } else {
        iqn(at.field("iqn"), e)
    }
    if !(0..=255).contains(&at.field("lun").i64()) {
        at.field("lun").invalid(e, &range_text(0, 255));
    }
    if (at["chapAuthDiscovery"].bool() || at["chapAuthSession"].bool()) && at["secretRef"].is_null() {
        at.field("secretRef").required(e, "");
    }
    if at.field("initiatorName").is_set() {
        iqn(at.field("initiatorname").with(&at.v["initiatorName"]), e);
    }
}

pub(crate) fn glusterfs(at: At<'_>, e: &mut Errors) {
    at.field("endpoints").need(e);
    at.field("path").need(e);
}

pub(crate) fn flocker(at: At<'_>, e: &mut Errors) {
    let (name, uuid) = (at.field("datasetName"), at.field("datasetUUID"));
    if name.str().is_empty() && uuid.str().is_empty() {
        at.required(e, "one of datasetName and datasetUUID is required");
    }
    if !name.str().is_empty() && !uuid.str().is_empty() {
        at.invalid_as(e, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.str().contains('/') {
        name.invalid(e, "must not contain '/'");
    }
}

fn claim_name(at: At<'_>, e: &mut Errors) {
    at.field("claimName").need(e);
}

pub(crate) fn rbd(at: At<'_>, e: &mut Errors) {
    at.field("monitors").need(e);
    at.field("image").need(e);
}

pub(crate) fn cinder(at: At<'_>, e: &mut Errors) {
    at.field("volumeID").need(e);
    if at.field("secretRef").is_set() {
        at.fields(&["secretRef", "name"]).need(e);
    }
}

pub(crate) fn cephfs(at: At<'_>, e: &mut Errors) {
    at.field("monitors").need(e);
}

pub(crate) fn quobyte(at: At<'_>, e: &mut Errors) {
    let pairs = "must be a host:port pair or multiple pairs separated by commas";
    let registry = at.field("registry");
    if registry.str().is_empty() {
        registry.required(e, pairs);
    } else if at["tenant"].str().len() >= 65 {
        at.field("tenant").required(e, "must be a UUID and may not exceed a length of 64 characters");
    } else if registry.str().split(',').any(|pair| !pair.contains(':')) {
        registry.invalid(e, pairs);
    }
    at.field("volume").need(e);
}

pub(crate) fn fibre_channel(at: At<'_>, e: &mut Errors) {
    let (targets, ids, lun) = (at.field("targetWWNs"), at.field("wwids"), at.field("lun"));
    if targets.items().is_empty() && ids.items().is_empty() {
        targets.required(e, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.items().is_empty() && !ids.items().is_empty() {
        targets.invalid(e, "targetWWNs and wwids can not be specified simultaneously");
    }
    if !targets.items().is_empty() {
        if !lun.is_set() {
            lun.required(e, "lun is required if targetWWNs is specified");
        } else if !(0..=255).contains(&lun.i64()) {
            lun.invalid(e, &range_text(0, 255));
        }
    }
}

pub(crate) fn flex(at: At<'_>, e: &mut Errors) {
    at.field("driver").need(e);
    for (key, option) in at.field("options").map() {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if key.contains('/') && (domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io")) {
            option.invalid_as(e, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub(crate) fn azure_file(at: At<'_>, e: &mut Errors) {
    at.field("secretName").need(e);
    at.field("shareName").need(e);
}

pub(crate) fn vsphere(at: At<'_>, e: &mut Errors) {
    at.field("volumePath").need(e);
}

pub(crate) fn photon(at: At<'_>, e: &mut Errors) {
    at.field("pdID").need(e);
}

pub(crate) fn portworx(at: At<'_>, e: &mut Errors) {
    at.field("volumeID").need(e);
}

pub(crate) fn azure_disk(at: At<'_>, e: &mut Errors) {
    at.field("diskName").need(e);
    at.field("diskURI").need(e);
    one_of_if_set(at.field("cachingMode"), e, &["None", "ReadOnly", "ReadWrite"]);
    one_of_if_set(at.field("kind"), e, &["Dedicated", "Managed", "Shared"]);
    let (kind, uri) = (at["kind"].str(), at.field("diskURI"));
    if kind == "Managed" && !uri.str().starts_with("/subscriptions/") {
        let form = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
        uri.not_supported(e, &[form]);
    }
    if !kind.is_empty() && kind != "Managed" && !uri.str().starts_with("https://") {
        uri.not_supported(e, &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"]);
    }
}

pub(crate) fn storage_os(at: At<'_>, e: &mut Errors) {
    at.field("volumeName").check_required(e, names::dns1123_label);
    at.field("volumeNamespace").check_if_set(e, names::dns1123_label);
    if at.field("secretRef").is_set() {
        at.fields(&["secretRef", "name"]).need(e);
    }
}

pub(crate) fn scale_io(at: At<'_>, e: &mut Errors) {
    at.field("gateway").need(e);
    at.field("system").need(e);
    at.field("volumeName").need(e);
}

/// Names of CSI drivers.
pub(crate) fn driver_name(at: At<'_>, e: &mut Errors) {
    if at.str().is_empty() {
        return at.required(e, "");
    }
    if at.str().len() > 63 {
        at.too_long(e, 63);
    }
    at.check(e, |s| names::dns1123_subdomain(&s.to_lowercase()));
}

fn csi(at: At<'_>, e: &mut Errors) {
    driver_name(at.field("driver"), e);
    let secret = at.field("nodePublishSecretRef");
    if secret.is_set() {
        if secret["name"].str().is_empty() {
            secret.field("name").required(e, "");
        } else {
            at.field("name").with(&secret.v["name"]).check(e, names::dns1123_subdomain);
        }
    }
}

fn image(at: At<'_>, e: &mut Errors) {
    super::one_of(at.field("pullPolicy"), e, &["Always", "IfNotPresent", "Never"]);
}

fn downward(at: At<'_>, e: &mut Errors) {
    mode(at.field("defaultMode"), e);
    for file in at.field("items").items() {
        downward_file(at.with(file), e);
    }
}

/// A file of a downward API volume; upstream names the volume in its errors, not the item.
fn downward_file(at: At<'_>, e: &mut Errors) {
    at.field("path").need(e);
    file_path(at.field("path"), e);
    let (field, resource) = (at.field("fieldRef"), at.field("resourceFieldRef"));
    if field.is_set() {
        let known = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
        env::field_ref(field, &known, e);
        if resource.is_set() {
            at.invalid_as(e, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if resource.is_set() {
        env::resource_ref(resource, true, e);
    } else {
        at.required(e, "one of fieldRef and resourceFieldRef is required");
    }
    mode(at.field("mode"), e);
}

fn projected(at: At<'_>, e: &mut Errors) {
    mode(at.field("defaultMode"), e);
    let mut paths: Vec<&str> = Vec::new();
    for source in at.field("sources").list() {
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            let from = source.field(kind);
            if from.is_set() {
                count += 1;
                from.field("name").need(e);
                for item in from.field("items").list() {
                    key_to_path(item, e);
                    unique_path(at, item.v["path"].str(), from.v["name"].str(), &mut paths, e);
                }
            }
        }
        let from = source.field("downwardAPI");
        if from.is_set() {
            count += 1;
            for file in from.v["items"].items() {
                downward_file(from.with(file), e);
                unique_path(at, file["path"].str(), file["path"].str(), &mut paths, e);
            }
        }
        count += token(at, source.field("serviceAccountToken"), e);
        count += trust_bundle(at, source.field("clusterTrustBundle"), &mut paths, e);
        count += pod_certificate(at, source.field("podCertificate"), &mut paths, e);
        if count > 1 {
            source.forbidden(e, "may not specify more than 1 volume type per source");
        }
    }
}

fn unique_path<'a>(at: At<'_>, path: &'a str, shown: &str, paths: &mut Vec<&'a str>, e: &mut Errors) {
    if path.is_empty() {
        return;
    }
    if paths.contains(&path) { at.invalid_as(e, shown, "conflicting duplicate paths") } else { paths.push(path) }
}

fn token(at: At<'_>, from: At<'_>, e: &mut Errors) -> u32 {
    if !from.is_set() {
        return 0;
    }
    let seconds = from.field("expirationSeconds");
    if seconds.i64() < 600 {
        seconds.invalid_as(e, seconds.i64(), "may not specify a duration less than 10 minutes");
    }
    if seconds.i64() > 1 << 32 {
        seconds.invalid(e, "may not specify a duration larger than 2^32 seconds");
    }
    let path = at.field("path").with(&from.v["path"]);
    if path.str().is_empty() {
        path.required(e, "")
    } else {
        file_path(path, e)
    }
    1
}

fn trust_bundle<'a>(at: At<'_>, from: At<'a>, paths: &mut Vec<&'a str>, e: &mut Errors) -> u32 {
    if !from.is_set() {
        return 0;
    }
    let (name, signer) = (from.field("name"), from.field("signerName"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => from.invalid(e, "only one of name and signerName may be used"),
        (true, false) => {
            if name.str().is_empty() {
                name.required(e, "must be a valid object name");
            }
            for text in names::dns1123_subdomain(name.str().rsplit(':').next().unwrap_or_default()) {
                name.invalid(e, &format!("not a valid clustertrustbundlename: {text}"));
            }
            if from.field("labelSelector").is_set() {
                from.field("labelSelector").invalid(e, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if signer.str().is_empty() {
                signer.required(e, "must be a valid signer name");
            }
            super::names::signer(signer, e);
            labels::selector(from.field("labelSelector"), e);
        }
        (false, false) => from.required(e, "either name or signerName must be specified"),
    }
    from.field("path").need(e);
    file_path(from.field("path"), e);
    unique_path(at, from.v["path"].str(), from.v["path"].str(), paths, e);
    1
}

fn pod_certificate<'a>(at: At<'_>, from: At<'a>, paths: &mut Vec<&'a str>, e: &mut Errors) -> u32 {
    if !from.is_set() {
        return 0;
    }
    super::names::signer(from.field("signerName"), e);
    let kinds = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    if !kinds.contains(&from["keyType"].str()) {
        from.field("keyType").not_supported(e, &kinds);
    }
    let longest = from.field("maxExpirationSeconds");
    if longest.is_set() {
        let ours = from["signerName"].str().starts_with("kubernetes.io/");
        let max = if ours { 86_400 } else { 91 * 86_400 };
        if longest.i64() < 3600 {
            longest.invalid(e, "if provided, maxExpirationSeconds must be >= 3600");
        }
        if longest.i64() > max {
            longest.invalid(e, &format!("if provided, maxExpirationSeconds must be <= {max}"));
        }
    }
    let mut some = false;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let path = from.field(field);
        if !path.str().is_empty() {
            some = true;
            file_path(path, e);
            unique_path(at, path.v.str(), path.v.str(), paths, e);
        }
    }
    if !some {
        from.required(e, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
    1
}
