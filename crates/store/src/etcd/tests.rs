//! Against a real etcd, where there is one.

use super::*;
use crate::etcd_process::{EtcdCluster, MemberTls, is_installed};
use crate::{Watched, suite};
use futures::future::join_all;
use std::process::Command;

async fn connect(cluster: &EtcdCluster) -> Etcd {
    let endpoints = cluster.addresses();
    let options = Options { endpoints, compaction_interval: Duration::ZERO, ..Options::default() };
    Etcd::connect(options).await.expect("etcd answers")
}

fn put(key: &str, value: &str) -> Vec<Change> {
    vec![Change::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()))]
}

async fn write(store: &Etcd, key: &str, value: &str) -> Revision {
    match store.commit(vec![], put(key, value)).await.expect("commit") {
        Committed::Yes(revision) => revision,
        no => panic!("{no:?}"),
    }
}

/// The next events of a watch, as `key@revision`.
async fn events(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), watch.events.recv()).await;
        match next.unwrap_or_else(|_| panic!("silence after {seen:?}")).expect("the watch runs") {
            Ok(Watched::Events(events)) => {
                seen.extend(events.iter().map(|e| format!("{}@{}", e.key(), e.revision)));
            }
            Ok(Watched::Progress(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    suite::run(&connect(&cluster).await, "/registry/suite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_pass_the_suite_below_another_prefix() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(3);
    let options = Options { endpoints: cluster.addresses(), prefix: "/east".to_owned(), ..Options::default() };
    suite::run(&Etcd::connect(options).await.unwrap(), "/registry/suite").await;
    let plain = connect(&cluster).await;
    let all = plain.range(Range::prefix("/")).await.unwrap();
    assert!(all.records.iter().all(|r| r.key.starts_with("/east/suite/")), "{:?}", all.records.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_share_one_question() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let store = connect(&cluster).await;
    let before = store.revisions_asked();
    let written = write(&store, "/registry/a", "1").await;
    for revision in join_all((0..1000).map(|_| store.revision())).await {
        assert!(revision.unwrap() >= written);
    }
    let asked = store.revisions_asked() - before;
    // Those who came while a question was under way share the next one.
    assert!(asked < 20, "a thousand readers asked {asked} questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_the_members_it_was_on() {
    if !is_installed() {
        return;
    }
    let mut cluster = EtcdCluster::start(3);
    let store = connect(&cluster).await;
    let mut watch = store.watch("/registry/w/", 0).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        for n in 0..20 {
            let key = format!("/registry/w/{n}");
            let revision = write(&store, &key, "x").await;
            expected.push(format!("{key}@{revision}"));
        }
        assert_eq!(events(&mut watch, expected.len()).await, expected);
        expected.clear();
        cluster.kill(round);
        // What was sent to it is lost or not; the next one is asked from then on.
        let revision = loop {
            match store.commit(vec![], put("/registry/w/between", "x")).await {
                Ok(Committed::Yes(revision)) => break revision,
                Ok(no) => panic!("{no:?}"),
                Err(error) => {
                    assert!(matches!(error, StoreError::Unknown { .. } | StoreError::Failed { .. }), "{error}")
                }
            }
        };
        // A lost answer may have been a write all the same.
        loop {
            let seen = events(&mut watch, 1).await;
            if seen == [format!("/registry/w/between@{revision}")] {
                break;
            }
            assert!(seen[0].starts_with("/registry/w/between@"), "{seen:?}");
        }
        watch.progress.ask();
        cluster.restart(round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_member_costs_seconds_not_answers() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(3);
    let store = connect(&cluster).await;
    let mut watch = store.watch("/registry/w/", 0).await.unwrap();
    let first = write(&store, "/registry/w/a", "1").await;
    assert_eq!(events(&mut watch, 1).await, [format!("/registry/w/a@{first}")]);
    cluster.stall(0);
    assert!(store.revision().await.unwrap() >= first);
    let second = write(&store, "/registry/w/a", "2").await;
    // The watch hears of it once somebody asks how far it is.
    watch.progress.ask();
    assert_eq!(events(&mut watch, 1).await, [format!("/registry/w/a@{second}")]);
    cluster.wake(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_never_a_no() {
    if !is_installed() {
        return;
    }
    let mut cluster = EtcdCluster::start(1);
    let store = Arc::new(connect(&cluster).await);
    let first = write(&store, "/registry/a", "1").await;
    cluster.stall(0);
    let waiting = {
        let store = store.clone();
        let expect = vec![Expect { key: "/registry/a".to_owned(), mod_revision: first }];
        tokio::spawn(async move { store.commit(expect, put("/registry/a", "2")).await })
    };
    // The request must be on its way before the member dies.
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.kill(0);
    let answer = waiting.await.unwrap();
    assert!(matches!(answer, Err(StoreError::Unknown { .. })), "{answer:?}");
    cluster.restart(0);
    assert!(store.get("/registry/a").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_compact_in_turns() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let (one, two) = (connect(&cluster).await, connect(&cluster).await);
    let old = write(&one, "/registry/a", "1").await;
    let (mut first, mut second) = (compactor::Turn::default(), compactor::Turn::default());
    for value in ["2", "3", "4"] {
        first = compactor::take(&one.client, first).await.unwrap();
        second = compactor::take(&two.client, second).await.unwrap();
        write(&one, "/registry/a", value).await;
    }
    let past = one.range(Range { at: old, ..Range::prefix("/registry/") }).await;
    assert!(matches!(past, Err(StoreError::Compacted { .. })), "{past:?}");
    assert_eq!(&one.get("/registry/a").await.unwrap().unwrap().value[..], b"4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_whole() {
    if !is_installed() {
        return;
    }
    let cluster = EtcdCluster::start(1);
    let store = connect(&cluster).await;
    let written = write(&store, "/registry/a", "kept").await;
    let dir = tempfile::tempdir().unwrap();
    assert!(store.snapshot(&dir.path().join("s")).await.unwrap() >= written);
    let bytes = std::fs::read(dir.path().join("s/etcd.snapshot")).unwrap();
    assert!(bytes.windows(4).any(|w| w == b"kept"));
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_client_certificates() {
    if !is_installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(
        dir.path(),
        &format!("{new} -keyout ca.key -out ca.crt -subj /CN=ca -addext basicConstraints=critical,CA:TRUE"),
    );
    for (name, usage) in [("member", "serverAuth,clientAuth"), ("client", "clientAuth")] {
        let signed = "-CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext subjectAltName=IP:127.0.0.1";
        let files = format!("-keyout {name}.key -out {name}.crt -subj /CN={name} -addext extendedKeyUsage={usage}");
        openssl(dir.path(), &format!("{new} {files} {signed}"));
    }
    let tls = MemberTls { ca: at("ca.crt"), cert: at("member.crt"), key: at("member.key") };
    let cluster = EtcdCluster::start_with_tls(&tls);
    let options = Options {
        endpoints: cluster.addresses(),
        ca: Some(at("ca.crt")),
        cert: Some(at("client.crt")),
        key: Some(at("client.key")),
        ..Options::default()
    };
    let store = Etcd::connect(options.clone()).await.unwrap();
    write(&store, "/registry/a", "1").await;
    let nobody = Etcd::connect(Options { cert: None, key: None, ..options.clone() }).await;
    assert!(nobody.is_err(), "a client without a certificate was let in");
    let plain = Options { endpoints: vec![format!("https://{}", cluster.addresses()[0])], ca: None, ..options };
    let refused = Etcd::connect(plain).await.err().expect("no authority is named");
    assert!(refused.to_string().contains("https needs an authority's certificate"), "{refused}");
}

#[test]
fn faults_of_members_may_come_twice() {
    if !is_installed() {
        return;
    }
    let mut cluster = EtcdCluster::start(1);
    for _ in 0..2 {
        cluster.stall(0);
        cluster.stall(0);
        cluster.wake(0);
        cluster.kill(0);
        cluster.restart(0);
        cluster.restart(0);
    }
}
