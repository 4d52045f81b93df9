//! Counts kept up to date are what counting anew gives, and nobody counts twice.

use super::*;
use crate::nodes::Nodes;
use serde_json::json;

fn pod(uid: &str, labels: &[(&str, &str)]) -> Arc<Pod> {
    let labels: HashMap<_, _> = labels.iter().copied().collect();
    let meta = json!({"name": uid, "uid": uid, "namespace": "n", "labels": labels});
    Arc::new(serde_json::from_value(json!({"metadata": meta})).unwrap())
}

fn selector(text: &str) -> LabelSelector {
    LabelSelector::parse(text).unwrap()
}

/// Counts without looking at any pod, or fails.
fn known(groups: &mut Groups, text: &str) -> Arc<Counts> {
    groups.count("n", &selector(text), || -> std::iter::Empty<(&str, &Pod)> { panic!("{text}: pods are looked at") })
}

#[test]
fn pods_are_looked_at_once_per_selector_and_not_at_all_where_none_can_match() {
    let (a, b) = (pod("a", &[("app", "web")]), pod("b", &[("app", "web"), ("tier", "x")]));
    let mut groups = Groups::default();
    assert!(known(&mut groups, "app=web").is_empty(), "there is no pod yet");
    groups.put("one", &a);
    groups.put("two", &b);
    assert_eq!(*known(&mut groups, "app=web"), [("one".to_owned(), 1), ("two".to_owned(), 1)].into());
    assert!(known(&mut groups, "app=web,pod-template-hash=new").is_empty());
    let mut looked = 0;
    let all = [("one", &*a), ("two", &*b)];
    let counts = groups.count("n", &selector("tier"), || all.into_iter().inspect(|_| looked += 1));
    assert_eq!((looked, &*counts), (2, &[("two".to_owned(), 1)].into()));
    groups.take("two", &b);
    assert!(known(&mut groups, "tier").is_empty());
    assert_eq!(*known(&mut groups, "app=web"), [("one".to_owned(), 1)].into());
    assert_eq!(*counts, [("two".to_owned(), 1)].into(), "who holds counts holds those of then");
}

#[test]
fn everything_and_nothing_count_nothing() {
    let mut groups = Groups::default();
    groups.put("one", &pod("a", &[]));
    for selector in [LabelSelector::default(), LabelSelector::nothing()] {
        let none = groups.count("n", &selector, || -> std::iter::Empty<(&str, &Pod)> { panic!("pods are looked at") });
        assert!(none.is_empty());
    }
}

#[test]
fn the_oldest_groups_are_forgotten() {
    let mut groups = Groups::default();
    for i in 0..=MOST {
        known(&mut groups, "app=kept");
        known(&mut groups, &format!("app=a{i}"));
    }
    assert!(groups.groups.len() <= MOST, "{}", groups.groups.len());
    let placed: usize = groups.by_label.values().map(Vec::len).sum();
    assert_eq!(placed, groups.groups.len());
    groups.put("one", &pod("a", &[("app", "kept")]));
    assert_eq!(known(&mut groups, "app=kept").len(), 1);
}

/// Pods come, change, go away and move by a fixed course of chance; counts kept are those of a fresh start.
#[test]
fn counts_kept_are_those_counted_anew() {
    let texts = ["app=web", "app in (web,db)", "app!=web", "tier", "app=web,tier=y", "app=none"];
    let kept = Nodes::default();
    let mut chance = 7u64;
    let mut draw = |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut last: HashMap<String, (String, Arc<Pod>)> = HashMap::new();
    for step in 0..2000 {
        let uid = format!("p{}", draw(20));
        if draw(4) == 0 {
            kept.remove_pod(&uid);
            last.remove(&uid);
        } else {
            let apps = ["web", "db", "none"];
            let mut pod = (*pod(&uid, &[("app", apps[draw(3) as usize])])).clone();
            if draw(2) == 0 {
                pod.metadata.labels.get_or_insert_default().insert("tier".into(), ["x", "y"][draw(2) as usize].into());
            }
            if draw(5) == 0 {
                let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
                pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            }
            let node = format!("node{}", draw(4));
            pod.spec.get_or_insert_default().node_name = Some(node.clone());
            let pod = Arc::new(pod);
            if draw(2) == 0 {
                kept.set_pod(&pod)
            } else {
                kept.assume(&pod, &node)
            }
            last.insert(uid, (node, pod));
        }
        let fresh = Nodes::default();
        last.values().for_each(|(_, pod)| fresh.set_pod(pod));
        for text in texts {
            let selector = selector(text);
            assert_eq!(kept.counts("n", &selector), fresh.counts("n", &selector), "{text} after {step} steps");
        }
    }
}
