//! The edge and the books, on a clock that stands still.

use super::*;
use futures::FutureExt;
use futures::future::BoxFuture;
use kaji_api::value;

fn user(name: &str) -> Arc<UserInfo> {
    let groups = vec!["system:authenticated".to_owned()];
    Arc::new(UserInfo { name: name.to_owned(), groups, ..UserInfo::default() })
}

fn get() -> Arc<RequestInfo> {
    let (verb, resource) = ("get".to_owned(), "pods".to_owned());
    Arc::new(RequestInfo { is_resource: true, verb, resource, namespace: "n".to_owned(), ..RequestInfo::default() })
}

/// A server of so many seats with one level of queues for everybody.
fn server(total: usize) -> Arc<Fairness> {
    let level = value!({
        "metadata": {"name": "all", "uid": "level-uid"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 95,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 4, "queueLengthLimit": 50}},
        }},
    });
    let schema = value!({
        "metadata": {"name": "all", "uid": "schema-uid"},
        "spec": {
            "priorityLevelConfiguration": {"name": "all"},
            "matchingPrecedence": 500,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": "*"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
            }],
        },
    });
    let fairness = Fairness::new(total);
    fairness.digest(vec![LevelSpec::parse(&level).unwrap()], vec![SchemaSpec::parse(&schema)]);
    Arc::new(fairness)
}

type Entering = BoxFuture<'static, Result<Seat, Refusal>>;

/// A request that has come, and waits if it must.
fn come(fairness: &Arc<Fairness>, name: &str, patience: u64) -> Result<Seat, Entering> {
    let (fairness, user) = (fairness.clone(), user(name));
    let mut entering = async move {
        let class = fairness.classify(&get(), &user).expect("everybody has a class");
        fairness.enter(&class, &get(), &user, || None, || Duration::from_secs(patience)).await
    }
    .boxed();
    match (&mut entering).now_or_never() {
        Some(Ok(seat)) => Ok(seat),
        Some(Err(why)) => Err(futures::future::ready(Err(why)).boxed()),
        None => Err(entering),
    }
}

#[test]
fn flows_are_hashed_as_upstream_does() {
    let fairness = server(10);
    let schemas = fairness.schemas.load();
    let schema = schemas.iter().find(|s| s.spec.name == "all").unwrap();
    assert_eq!(schema.flow(&get(), &user("jane")), "jane");
    let spec = SchemaSpec { name: "global-default".to_owned(), ..schema.spec.clone() };
    let (level, response, tally, uids) =
        (schema.level.clone(), schema.response, schema.tally.clone(), schema.uids.clone());
    let schema = Schema { spec, level, response, tally, uids };
    assert_eq!(schema.hash("jane"), 6822407026147695384);
    assert_eq!(schema.hash(&"x".repeat(600)), schema.hash(&"x".repeat(600)));
}

#[tokio::test(start_paused = true)]
async fn one_tenant_s_flood_does_not_keep_another_waiting() {
    let fairness = server(20);
    let limit = fairness.levels.lock()["all"].seats.current;
    assert_eq!(limit, 19);
    let mut held: Vec<Seat> = (0..limit).map(|_| come(&fairness, "flood", 10).map_err(drop).unwrap()).collect();
    let mut flood: Vec<Entering> = (0..150).filter_map(|_| come(&fairness, "flood", 10).err()).collect();
    let mut jane = come(&fairness, "jane", 10).map_err(Some).err().flatten().unwrap();
    let mut before = 0;
    // Seats become free one by one; those who get them keep them.
    let seat = loop {
        drop(held.pop().expect("jane gets in before all of the flood does"));
        match (&mut jane).now_or_never() {
            Some(seat) => break seat,
            None => before += 1,
        }
        flood.retain_mut(|entering| match entering.now_or_never() {
            Some(seat) => {
                held.insert(0, seat.map_err(drop).unwrap());
                false
            }
            None => true,
        });
    };
    assert!(seat.is_ok());
    // At most one for each of the flood's queues.
    assert!(before <= 4, "{before} of the flood came first");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused_and_who_leaves_is_forgotten() {
    let fairness = server(2);
    let limit = fairness.levels.lock()["all"].seats.current;
    let held: Vec<Seat> = (0..limit).map(|_| come(&fairness, "jane", 1).map_err(drop).unwrap()).collect();
    let waits = come(&fairness, "jane", 15).map_err(Some).err().flatten().unwrap();
    let leaves = come(&fairness, "joe", 15).map_err(Some).err().flatten().unwrap();
    drop(leaves);
    let came = Instant::now();
    assert!(matches!(waits.await, Err(Refusal::TimeOut)));
    assert_eq!(came.elapsed(), Duration::from_secs(15));
    drop(held);
    assert!(fairness.levels.lock()["all"].level.is_idle());
    let mut page = String::new();
    metrics::page(&fairness, &mut page);
    for line in [
        "rejected_requests_total{flow_schema=\"all\",priority_level=\"all\",reason=\"time-out\"} 1",
        "rejected_requests_total{flow_schema=\"all\",priority_level=\"all\",reason=\"cancelled\"} 1",
        "current_inqueue_requests{flow_schema=\"all\",priority_level=\"all\"} 0",
        "current_executing_seats{flow_schema=\"all\",priority_level=\"all\"} 0",
        "current_limit_seats{priority_level=\"all\"} 2",
        "request_wait_duration_seconds_count{flow_schema=\"all\",priority_level=\"all\",execute=\"true\"} 2",
    ] {
        assert!(page.contains(&format!("\napiserver_flowcontrol_{line}\n")), "{line} in\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn seats_held_after_a_write_become_free_by_themselves() {
    let fairness = server(2);
    let info = Arc::new(RequestInfo { verb: "create".to_owned(), ..(*get()).clone() });
    let watches: Vec<Registered> = (0..40).map(|_| fairness.register_watch(&info)).collect();
    let jane = user("jane");
    let class = fairness.classify(&info, &jane).unwrap();
    let enter = || fairness.enter(&class, &info, &jane, || None, || Duration::from_secs(1));
    let first = enter().await.map_err(drop).unwrap();
    drop(first);
    // Four seats' worth of watches, in a level whose requests are one seat wide: for 20 ms.
    let used = || fairness.levels.lock()["all"].level.look(|set, _| set.counts().2);
    assert_eq!(used(), 1);
    // Time is paused: nothing waits here.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(used(), 0);
    drop(watches);
}

#[tokio::test(start_paused = true)]
async fn levels_that_go_serve_what_they_have() {
    let fairness = server(10);
    let held = come(&fairness, "jane", 1).map_err(drop).unwrap();
    fairness.digest(Vec::new(), Vec::new());
    assert!(fairness.levels.lock()["all"].quiescing);
    let class = fairness.classify(&get(), &user("jane")).unwrap();
    assert_eq!(class.0.spec.name, "catch-all");
    assert!(!fairness.has_idle_leftovers());
    drop(held);
    assert!(fairness.has_idle_leftovers());
    fairness.digest(Vec::new(), Vec::new());
    assert_eq!(fairness.levels.lock().keys().collect::<Vec<_>>(), ["catch-all", "exempt"]);
}

#[tokio::test(start_paused = true)]
async fn dumps_show_who_waits_where() {
    let fairness = server(1);
    let held = come(&fairness, "jane", 1).map_err(drop).unwrap();
    let waits = come(&fairness, "joe", 15).map_err(Some).err().flatten();
    assert!(waits.is_some());
    let page = |name: &str| dump::page(&fairness, &format!("/debug/api_priority_and_fairness/{name}"), true).unwrap();
    let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let levels = page("dump_priority_levels");
    let all = levels.lines().find(|line| line.starts_with("all,")).unwrap();
    assert_eq!(cells(all), ["all", "1", "false", "false", "1", "1", "1", "0", "0", "0"]);
    assert_eq!(page("dump_queues").lines().count(), 65);
    let requests = page("dump_requests");
    assert!(
        requests.starts_with("PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, FlowDistingsher, ")
    );
    let rows: Vec<Vec<String>> = requests.lines().skip(1).map(cells).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&*rows[0][4], &*rows[0][3], &*rows[0][9]), ("joe", "0", "0001-01-01T00:00:00Z"));
    assert_eq!((&*rows[1][4], &*rows[1][3]), ("jane", "-1"));
    assert_eq!(rows[0][10..], ["joe", "get", "", "n", "", "", "pods", ""]);
    assert!(dump::page(&fairness, "/debug/api_priority_and_fairness/dump_all", false).is_none());
    drop((held, waits));
}
