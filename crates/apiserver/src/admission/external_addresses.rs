//! DenyServiceExternalIPs: services get no external addresses beside those they have.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{Status, Value};

pub(super) struct DenyServiceExternalIps;

impl Plugin for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let concerned = matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "services");
            match concerned && adds(a.object, a.old) {
                true => Err(a.forbidden("Use of external IPs is denied by admission control")),
                false => Ok(()),
            }
        })
    }
}

fn adds(new: &Value, old: &Value) -> bool {
    let before = old["spec"]["externalIPs"].items();
    new["spec"]["externalIPs"].items().iter().any(|address| !before.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn addresses_may_go_but_not_come() {
        let service = |addresses: &[&str]| value!({"spec": {"externalIPs": (addresses.to_vec())}});
        assert!(adds(&service(&["10.0.0.1"]), &Value::Null));
        assert!(!adds(&service(&["10.0.0.1"]), &service(&["10.0.0.2", "10.0.0.1"])));
        assert!(adds(&service(&["10.0.0.3"]), &service(&["10.0.0.1"])));
        assert!(!adds(&service(&[]), &Value::Null));
    }
}
