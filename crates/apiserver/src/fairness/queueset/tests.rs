//! The promises of a level: seats are never oversold, no seat stays free while somebody fits, flows share fairly,
//! and a flood costs bounded memory.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Counts what it is told.
#[derive(Clone, Debug, Default)]
struct Watched(Rc<RefCell<Counts>>);

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Counts {
    queued: i64,
    running: i64,
    seats: i64,
    started: i64,
}

impl Ticket for Watched {
    fn note(&mut self, step: Step, seats: usize) {
        let mut counts = self.0.borrow_mut();
        let seats = i64::try_from(seats).unwrap();
        match step {
            Step::Queued(_) => counts.queued += 1,
            Step::Unqueued => counts.queued -= 1,
            Step::Started => {
                counts.running += 1;
                counts.started += 1;
                counts.seats += seats;
            }
            Step::Ended => counts.running -= 1,
            Step::Freed => counts.seats -= seats,
            Step::NoRoom => {}
        }
    }
}

const QUEUES: Response = Response::Queue { queues: 64, hand: 6, length: 50 };

fn millis(n: u64) -> Now {
    Duration::from_millis(n)
}

fn level(response: Response, limit: usize) -> QueueSet<Watched> {
    let mut set = QueueSet::new(Now::ZERO);
    set.configure(Now::ZERO, response, limit, limit);
    set
}

fn check(set: &QueueSet<Watched>, watched: &Watched, wide: bool) {
    let (waiting, executing, used, wanted) = set.counts();
    let counts = *watched.0.borrow();
    let as_i64 = |n: usize| i64::try_from(n).unwrap();
    assert_eq!((counts.queued, counts.running, counts.seats), (as_i64(waiting), as_i64(executing), as_i64(used)));
    assert!(used <= set.limit || wide, "{used} seats of {}", set.limit);
    assert_eq!(set.queues().iter().map(|q| q.waiting).sum::<usize>(), waiting);
    assert_eq!(set.queues().iter().map(|q| q.seats_waiting).sum::<usize>(), wanted);
    assert_eq!(set.queues().iter().map(|q| q.seats_in_use).sum::<usize>(), set.queued_seats_in_use);
    assert_eq!(set.ready.len(), set.queues().iter().filter(|q| q.waiting > 0).count());
    assert_eq!(set.active, set.queues().iter().filter(|q| q.waiting > 0 || q.executing > 0).count());
    for queue in set.queues() {
        assert_eq!(set.line(queue).count(), queue.waiting);
    }
    // Whoever is next in turn doesn't fit, or there would be no waiting.
    if let Some((_, id)) = set.next_in_turn() {
        assert!(set.seats_in_use >= set.limit || !set.accommodates(set.requests[id].work.width()));
    }
}

#[derive(Clone, Debug)]
enum Event {
    Arrive { flow: u64, seats: usize, final_seats: usize, linger: u64 },
    Leave(usize),
    Pass(u64),
    Configure { queues: usize, limit: usize },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0u64..20, 1usize..4, 0usize..5, 0u64..8)
            .prop_map(|(flow, seats, final_seats, linger)| Event::Arrive { flow, seats, final_seats, linger }),
        4 => (0usize..1000).prop_map(Event::Leave),
        3 => (0u64..20).prop_map(Event::Pass),
        1 => (0usize..9, 0usize..12).prop_map(|(queues, limit)| Event::Configure { queues, limit }),
    ]
}

proptest! {
    #[test]
    fn books_are_balanced(events in proptest::collection::vec(event(), 1..200)) {
        let watched = Watched::default();
        let mut set = level(Response::Queue { queues: 8, hand: 3, length: 4 }, 6);
        let (mut now, mut present, mut arrived, mut gone) = (Now::ZERO, Vec::new(), 0u64, 0u64);
        for event in events {
            match event {
                Event::Arrive { flow, seats, final_seats, linger } => {
                    let work = Work { seats, final_seats, linger: millis(linger) };
                    arrived += 1;
                    match set.arrive(now, flow.wrapping_mul(0x9E37_79B9_7F4A_7C15), work, watched.clone()) {
                        Arrival::Started(id) | Arrival::Queued(id) => present.push(id),
                        Arrival::Refused(_) => gone += 1,
                    }
                }
                Event::Leave(n) if !present.is_empty() => {
                    let id = present.swap_remove(n % present.len());
                    if set.leave(now, id, Refusal::Cancelled) {
                        gone += 1;
                    }
                }
                Event::Leave(_) => {}
                Event::Pass(n) => {
                    now += millis(n);
                    set.advance(now);
                }
                Event::Configure { queues: 0, limit } => set.configure(now, Response::Reject, limit, limit),
                Event::Configure { queues, limit } => {
                    set.configure(now, Response::Queue { queues, hand: queues.min(3), length: 4 }, limit, limit);
                }
            }
            // Limits may fall below what runs, and a request wider than the level runs alone.
            check(&set, &watched, true);
        }
        // With seats again, everybody gets through, and nothing is left.
        set.configure(now, Response::Queue { queues: 8, hand: 3, length: 4 }, 6, 6);
        while let Some(id) = present.pop() {
            now += millis(1);
            if set.requests[id].stage == Stage::Waiting {
                present.insert(0, id);
                prop_assert!(set.requests.iter().any(|r| r.stage != Stage::Waiting), "nobody runs, somebody waits");
                set.advance(now);
                continue;
            }
            set.leave(now, id, Refusal::Cancelled);
        }
        set.advance(now + millis(1000));
        check(&set, &watched, true);
        prop_assert_eq!(set.counts(), (0, 0, 0, 0));
        let totals = set.totals();
        prop_assert_eq!((totals.dispatched + totals.rejected, totals.rejected), (arrived, gone));
        prop_assert_eq!(*watched.0.borrow(), Counts { started: i64::try_from(totals.dispatched).unwrap(), ..Counts::default() });
    }
}

/// Clients that each keep a number of requests in the level, served in turns of virtual time.
struct Crowd {
    set: QueueSet<Watched>,
    now: Now,
    /// Per flow: hash, requests it keeps outstanding, seats and milliseconds of each.
    flows: Vec<(u64, usize, usize, u64)>,
    running: Vec<(Now, usize, Id)>,
    waiting: Vec<(usize, Id)>,
    served: Vec<u64>,
    refused: Vec<u64>,
    most: usize,
}

impl Crowd {
    fn new(set: QueueSet<Watched>, flows: Vec<(u64, usize, usize, u64)>) -> Self {
        let (served, refused) = (vec![0; flows.len()], vec![0; flows.len()]);
        Crowd { set, now: Now::ZERO, flows, running: Vec::new(), waiting: Vec::new(), served, refused, most: 0 }
    }

    fn outstanding(&self, flow: usize) -> usize {
        let of = |f: &usize| usize::from(*f == flow);
        self.running.iter().map(|(_, f, _)| of(f)).sum::<usize>()
            + self.waiting.iter().map(|(f, _)| of(f)).sum::<usize>()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for flow in 0..self.flows.len() {
                let (hash, keeps, seats, _) = self.flows[flow];
                for _ in self.outstanding(flow)..keeps {
                    match self.set.arrive(self.now, hash, Work::of(seats), Watched::default()) {
                        Arrival::Started(id) | Arrival::Queued(id) => self.waiting.push((flow, id)),
                        Arrival::Refused(_) => self.refused[flow] += 1,
                    }
                }
            }
            self.collect();
            self.now += millis(1);
            self.finish();
        }
    }

    fn collect(&mut self) {
        let (set, flows, now) = (&self.set, &self.flows, self.now);
        let running = &mut self.running;
        self.waiting.retain(|(flow, id)| {
            let runs = set.requests[*id].stage == Stage::Executing;
            if runs {
                running.push((now + millis(flows[*flow].3), *flow, *id));
            }
            !runs
        });
        self.most = self.most.max(self.set.requests.places());
    }

    fn finish(&mut self) {
        let now = self.now;
        let done: Vec<_> = self.running.extract_if(.., |(due, ..)| *due <= now).collect();
        for (_, flow, id) in done {
            self.set.leave(now, id, Refusal::Cancelled);
            self.served[flow] += 1;
        }
        self.collect();
    }
}

#[test]
fn a_flood_leaves_others_their_share() {
    // Ten seats. One tenant keeps 1000 requests outstanding; another keeps ten.
    let mut crowd = Crowd::new(level(QUEUES, 10), vec![(1, 1000, 1, 10), (0xDEAD_BEEF_CAFE, 10, 1, 10)]);
    crowd.run(Duration::from_secs(5));
    // 5 s × 10 seats / 10 ms = 5000 served; shuffle sharding gave either of them six queues.
    let (flood, modest) = (crowd.served[0], crowd.served[1]);
    assert!(flood + modest >= 4900, "{flood} + {modest}");
    assert!(modest >= 2000, "{modest} of the modest tenant beside {flood} of the flood");
    assert_eq!(crowd.refused[1], 0);
    assert!(crowd.refused[0] > 0);
}

#[test]
fn ten_times_too_many_clients_get_refusals_and_bounded_memory() {
    let flows = (0..600u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15), 10, 1, 5)).collect();
    let response = Response::Queue { queues: 16, hand: 4, length: 20 };
    let mut crowd = Crowd::new(level(response, 10), flows);
    crowd.run(Duration::from_millis(300));
    assert!(crowd.refused.iter().sum::<u64>() > 10_000);
    assert!(crowd.most <= 10 + 16 * 20, "{} places", crowd.most);
    assert!(crowd.served.iter().sum::<u64>() >= 580);
}

#[test]
fn wide_and_long_requests_count_by_seats_and_time() {
    // The same number of requests kept outstanding; one flow's are four times as long and three seats wide.
    let response = Response::Queue { queues: 64, hand: 1, length: 50 };
    let mut crowd = Crowd::new(level(response, 12), vec![(3, 40, 3, 20), (17, 40, 1, 5)]);
    crowd.run(Duration::from_secs(10));
    let work = [crowd.served[0] * 3 * 20, crowd.served[1] * 5];
    let total = work[0] + work[1];
    assert!(work[1] * 100 >= total * 40 && work[1] * 100 <= total * 60, "{work:?}");
}

#[test]
fn who_leaves_seats_unused_saves_nothing_up() {
    let response = Response::Queue { queues: 64, hand: 1, length: 50 };
    // One request at a time for ten seconds, then as many as the other.
    let mut crowd = Crowd::new(level(response, 4), vec![(3, 1, 1, 5), (17, 40, 1, 5)]);
    crowd.run(Duration::from_secs(10));
    crowd.flows[0].1 = 40;
    let before = crowd.served[1];
    crowd.run(Duration::from_secs(1));
    let other = crowd.served[1] - before;
    assert!((300..=500).contains(&other), "{other} of the other flow in the second after");
}

#[test]
fn without_queues_the_limit_refuses() {
    let mut set = level(Response::Reject, 2);
    let arrive = |set: &mut QueueSet<Watched>, seats| set.arrive(millis(1), 0, Work::of(seats), Watched::default());
    let Arrival::Started(first) = arrive(&mut set, 1) else { panic!("a seat was free") };
    assert!(matches!(arrive(&mut set, 1), Arrival::Started(_)));
    assert_eq!(arrive(&mut set, 1), Arrival::Refused(Refusal::ConcurrencyLimit));
    set.leave(millis(2), first, Refusal::Cancelled);
    assert!(matches!(arrive(&mut set, 1), Arrival::Started(_)));
    let mut exempt = level(Response::Exempt, 0);
    assert!((0..100).all(|_| matches!(arrive(&mut exempt, 10), Arrival::Started(_))));
}

#[test]
fn seats_are_held_after_a_write_for_its_watchers() {
    let mut set = level(QUEUES, 2);
    let work = Work { seats: 1, final_seats: 2, linger: millis(5) };
    let Arrival::Started(write) = set.arrive(millis(0), 1, work, Watched::default()) else { panic!("it was free") };
    let Arrival::Queued(next) = set.arrive(millis(1), 2, Work::of(1), Watched::default()) else { panic!("full") };
    set.leave(millis(2), write, Refusal::Cancelled);
    assert_eq!((set.counts(), set.next_due()), ((1, 0, 2, 1), Some(millis(7))));
    set.advance(millis(6));
    assert_eq!(set.requests[next].stage, Stage::Waiting);
    set.advance(millis(9));
    assert_eq!(set.requests[next].stage, Stage::Executing);
    assert_eq!(set.requests[next].started, Some(millis(9)), "when it was looked at");
}

#[test]
fn who_gives_up_is_gone() {
    let mut set = level(QUEUES, 1);
    let arrive = |set: &mut QueueSet<Watched>| set.arrive(millis(0), 1, Work::of(1), Watched::default());
    let Arrival::Started(first) = arrive(&mut set) else { panic!("it was free") };
    let Arrival::Queued(second) = arrive(&mut set) else { panic!("full") };
    let Arrival::Queued(third) = arrive(&mut set) else { panic!("full") };
    assert!(set.expire(millis(3), second));
    set.leave(millis(4), first, Refusal::Cancelled);
    assert!(!set.expire(millis(4), third), "it runs");
    set.leave(millis(5), third, Refusal::Cancelled);
    assert_eq!(set.totals(), Totals { dispatched: 2, rejected: 1, timed_out: 1, cancelled: 0 });
    assert!(set.is_idle());
}
