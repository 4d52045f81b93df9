//! The pod network of this node: the CNI configuration for our bridge, once the node has its pod CIDR.
//!
//! Masquerading and host ports are nftables rules of the service proxy, not of CNI plugins.

use crate::config::Config;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The file that we write; named so that it comes first.
const FILE: &str = "10-kaji.conflist";

/// The configuration for a node with these pod CIDRs.
fn conflist(bridge: &str, mtu: u32, cidrs: &[String], leases: &Path) -> serde_json::Value {
    let ranges: Vec<_> = cidrs.iter().map(|cidr| json!([{ "subnet": cidr }])).collect();
    let route = |cidr: &String| if cidr.contains(':') { "::/0" } else { "0.0.0.0/0" };
    let routes: Vec<_> = cidrs.iter().map(|cidr| json!({ "dst": route(cidr) })).collect();
    let mut plugin = json!({
        "type": "bridge",
        "bridge": bridge,
        "isGateway": true,
        "isDefaultGateway": false,
        "ipMasq": false,
        "hairpinMode": true,
        "ipam": { "type": "host-local", "ranges": ranges, "routes": routes, "dataDir": leases },
    });
    if mtu > 0 {
        plugin["mtu"] = json!(mtu);
    }
    json!({ "cniVersion": "0.4.0", "name": bridge, "plugins": [plugin] })
}

/// Writes it, unless it is there already.
pub(crate) fn write(config: &Config, cidrs: &[String]) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(&config.cni_conf_dir)?;
    let file = config.cni_conf_dir.join(FILE);
    let text = conflist(&config.bridge, config.mtu, cidrs, &config.root_dir.join("cni-leases"));
    let text = serde_json::to_vec_pretty(&text)?;
    if std::fs::read(&file).is_ok_and(|known| known == text) {
        return Ok(file);
    }
    let next = file.with_extension("tmp");
    std::fs::write(&next, text)?;
    std::fs::rename(&next, &file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_range_and_a_route() {
        let text = conflist("kaji0", 1450, &["10.1.2.0/24".into(), "fd00::/64".into()], Path::new("/leases"));
        let plugin = &text["plugins"][0];
        assert_eq!(plugin["bridge"], "kaji0");
        assert_eq!(plugin["mtu"], 1450);
        assert_eq!(plugin["ipam"]["ranges"], json!([[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "fd00::/64" }]]));
        assert_eq!(plugin["ipam"]["routes"], json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]));
    }
}
