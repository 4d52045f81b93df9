//! AlwaysPullImages: whoever may not pull an image may not use what another's pull left on the node.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub(super) struct AlwaysPullImages;

impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            if concerns(a) {
                always(a.object);
            }
            Ok(())
        })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let wrong = if concerns(a) { faults(a.object) } else { Errors::new() };
            let each: Vec<String> = wrong.0.iter().map(|error| a.forbidden(&error.to_string()).message).collect();
            match each.as_slice() {
                [] => Ok(()),
                [one] => Err(Status::new(500, "", one.as_str())),
                several => Err(Status::new(500, "", format!("[{}]", several.join(", ")))),
            }
        })
    }
}

/// Pods that come, and new images of those that are there.
fn concerns(a: &Attributes<'_>) -> bool {
    a.is("", "pods")
        && match a.operation {
            Operation::Create => true,
            Operation::Update => images(a.object).iter().any(|image| !images(a.old).contains(image)),
            _ => false,
        }
}

fn images(pod: &Value) -> Vec<&str> {
    LISTS.iter().flat_map(|list| pod["spec"][*list].items()).map(|container| container["image"].str()).collect()
}

fn always(pod: &mut Value) {
    let spec = pod.entry("spec");
    for list in LISTS {
        for container in spec.get_mut(list).map_or(&mut [][..], Value::items_mut) {
            container.set("imagePullPolicy", "Always");
        }
    }
    for volume in spec.get_mut("volumes").map_or(&mut [][..], Value::items_mut) {
        if let Some(image) = volume.get_mut("image") {
            image.set("pullPolicy", "Always");
        }
    }
}

fn faults(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::new("spec");
    let mut check = |path: Path, policy: &str| {
        if policy != "Always" {
            errors.not_supported(&path, policy, &["Always"]);
        }
    };
    for list in LISTS {
        for (index, container) in pod["spec"][list].items().iter().enumerate() {
            check(spec.child(list).index(index).child("imagePullPolicy"), container["imagePullPolicy"].str());
        }
    }
    for (index, volume) in pod["spec"]["volumes"].items().iter().enumerate() {
        if !volume["image"].is_null() {
            let path = spec.child("volumes").index(index).child("image").child("pullPolicy");
            check(path, volume["image"]["pullPolicy"].str());
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn everything_is_pulled() {
        let mut pod = value!({"spec": {"containers": [{"image": "a", "imagePullPolicy": "Never"}],
            "initContainers": [{"image": "b"}],
            "volumes": [{"name": "v", "image": {"reference": "c"}}, {"name": "w", "emptyDir": {}}]}});
        let told: Vec<String> = faults(&pod).0.iter().map(|e| e.field.clone()).collect();
        let fields = [
            "spec.initContainers[0].imagePullPolicy",
            "spec.containers[0].imagePullPolicy",
            "spec.volumes[0].image.pullPolicy",
        ];
        assert_eq!(told, fields);
        always(&mut pod);
        assert!(faults(&pod).is_empty());
    }
}
