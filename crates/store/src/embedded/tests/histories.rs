//! Random histories against a model that keeps everything.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Key number, value; with an expectation that holds, or one that doesn't.
    Commit {
        changes: BTreeMap<u8, Option<u8>>,
        holds: bool,
    },
    Compact {
        back: u64,
    },
    Reopen,
    Look {
        back: u64,
        limit: usize,
    },
    Follow {
        back: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = prop::collection::btree_map(0u8..6, prop::option::weighted(0.7, any::<u8>()), 1..4);
    let step = prop_oneof![
        12 => (changes, prop::bool::weighted(0.9)).prop_map(|(changes, holds)| Step::Commit { changes, holds }),
        1 => (0u64..6).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
        3 => (0u64..12, 0usize..4).prop_map(|(back, limit)| Step::Look { back, limit }),
        2 => (0u64..12).prop_map(|back| Step::Follow { back }),
    ];
    prop::collection::vec(step, 1..60)
}

type State = BTreeMap<String, (u8, Revision, Revision)>;

/// Every state there has been.
struct Model {
    states: BTreeMap<Revision, State>,
    revision: Revision,
    oldest: Revision,
}

impl Model {
    fn now(&self) -> &State {
        &self.states[&self.revision]
    }

    fn commit(&mut self, changes: &BTreeMap<u8, Option<u8>>) -> Revision {
        let mut state = self.now().clone();
        let next = self.revision + 1;
        for (key, value) in changes {
            let key = name(*key);
            match value {
                Some(value) => {
                    let create = state.get(&key).map_or(next, |(_, create, _)| *create);
                    state.insert(key, (*value, create, next));
                }
                None => {
                    state.remove(&key);
                }
            }
        }
        let changed = changes.values().any(Option::is_some) || state != *self.now();
        if changed {
            self.states.insert(next, state);
            self.revision = next;
        }
        self.revision
    }

    /// `revision key before after`, from a revision on.
    fn events(&self, from: Revision) -> Vec<String> {
        let mut events = Vec::new();
        for (revision, state) in self.states.range(from..) {
            let Some(before) = self.states.get(&(revision - 1)) else { continue };
            let keys: std::collections::BTreeSet<&String> = before.keys().chain(state.keys()).collect();
            for key in keys {
                let (old, new) = (before.get(key), state.get(key));
                if old != new {
                    events.push(show(*revision, key, old.map(|o| o.0), new.map(|n| n.0)));
                }
            }
        }
        events
    }
}

fn name(key: u8) -> String {
    format!("/m/{key}")
}

fn show(revision: Revision, key: &str, old: Option<u8>, new: Option<u8>) -> String {
    format!("{revision} {key} {old:?} {new:?}")
}

async fn play(steps: Vec<Step>, recent: usize) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { recent, ..Options::default() };
    let mut store = Embedded::open(dir.path(), options.clone()).unwrap();
    let first = format::FIRST_REVISION;
    let mut model = Model { states: BTreeMap::from([(first, State::new())]), revision: first, oldest: first };
    for step in steps {
        match step {
            Step::Commit { changes, holds } => commit(&store, &mut model, changes, holds).await,
            Step::Compact { back } => {
                let before = model.revision.saturating_sub(back);
                store.compact(before).await.unwrap();
                model.oldest = model.oldest.max(before);
            }
            Step::Reopen => {
                drop(store);
                store = Embedded::open(dir.path(), options.clone()).unwrap();
                assert_eq!(store.revision().await.unwrap(), model.revision);
            }
            Step::Look { back, limit } => look(&store, &model, back, limit).await,
            Step::Follow { back } => follow(&store, &model, back).await,
        }
    }
    drop(store);
    let report = check(dir.path()).unwrap();
    assert_eq!((report.problems, report.keys), (vec![], model.now().len() as u64));
}

async fn commit(store: &Embedded, model: &mut Model, changes: BTreeMap<u8, Option<u8>>, holds: bool) {
    let mod_revision = |key: &str| model.now().get(key).map_or(0, |s| s.2);
    let wrong = u64::from(!holds);
    let expect = changes.keys().map(|k| Expect { key: name(*k), mod_revision: mod_revision(&name(*k)) + wrong });
    let expect: Vec<Expect> = expect.collect();
    let change = |(key, value): (&u8, &Option<u8>)| match value {
        Some(value) => put(&name(*key), vec![*value]),
        None => Change::Delete(name(*key)),
    };
    let answer = store.commit(expect.clone(), changes.iter().map(change).collect()).await.unwrap();
    match answer {
        Committed::Yes(revision) => {
            assert!(holds);
            assert_eq!(revision, model.commit(&changes));
        }
        Committed::No(states, revision) => {
            assert!(!holds);
            assert_eq!(revision, model.revision);
            for (state, expect) in states.iter().zip(&expect) {
                let found = state.as_ref().map(|r| (r.value[0], r.create_revision, r.mod_revision));
                assert_eq!(found, model.now().get(&expect.key).copied());
            }
        }
    }
}

async fn look(store: &Embedded, model: &Model, back: u64, limit: usize) {
    let at = model.revision.saturating_sub(back).max(1);
    let ranged = store.range(Range { at, limit, ..Range::prefix("/m/") }).await;
    if at < model.oldest {
        assert!(matches!(ranged, Err(StoreError::Compacted { .. })));
        return;
    }
    let ranged = ranged.unwrap();
    let state = &model.states[&at];
    assert_eq!(ranged.count, state.len() as u64);
    let shown = if limit == 0 { state.len() } else { limit.min(state.len()) };
    assert_eq!(ranged.more, shown < state.len());
    let found = ranged.records.iter().map(|r| (r.key.clone(), (r.value[0], r.create_revision, r.mod_revision)));
    assert!(found.eq(state.clone().into_iter().take(shown)));
}

async fn follow(store: &Embedded, model: &Model, back: u64) {
    let from = model.revision.saturating_sub(back).max(1);
    if from < model.oldest {
        assert!(matches!(store.watch("/m/", from).await, Err(StoreError::Compacted { .. })));
        return;
    }
    let expected = model.events(from);
    let mut watch = store.watch("/m/", from).await.unwrap();
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(10), watch.events.recv()).await.unwrap().unwrap().unwrap() {
            Watched::Progress(revision) => {
                assert_eq!(revision, model.revision);
                break;
            }
            Watched::Events(events) => {
                let value = |r: &Option<Record>| r.as_ref().map(|r| r.value[0]);
                let shown = events.iter().map(|e| show(e.revision, e.key(), value(&e.previous), value(&e.current)));
                seen.extend(shown);
            }
        }
    }
    assert_eq!(seen, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_it_was_written(steps in steps(), recent in prop_oneof![Just(0usize), Just(600), Just(1 << 20)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, recent));
    }
}
