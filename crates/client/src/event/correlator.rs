//! Which reports become new events, which raise a count, and which are dropped. No clock but the reports'.

use super::Report;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// Ten events alike but for their message within ten minutes are combined from then on.
const SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// Per source and object: 25 at once, then one in five minutes.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Upstream's cache size, for each of the three memories.
const REMEMBERED: usize = 4096;

/// What to do with a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Too many from there.
    Drop,
    /// A new event with this message.
    Create {
        /// Its message.
        message: String,
    },
    /// The event of that name happened again.
    Repeat {
        /// The event's name.
        name: String,
        /// How often in all.
        count: i32,
        /// Its message.
        message: String,
    },
}

#[derive(Default)]
pub(super) struct Correlator {
    written: HashMap<String, (String, i32)>,
    similar: HashMap<String, (HashSet<String>, Timestamp)>,
    budget: HashMap<String, (f64, Timestamp)>,
}

impl Correlator {
    pub(super) fn correlate(&mut self, report: &Report) -> Outcome {
        if !self.spend(report) {
            return Outcome::Drop;
        }
        let (key, message) = self.identity(report);
        match self.written.get_mut(&key) {
            Some((name, count)) => {
                *count += 1;
                Outcome::Repeat { name: name.clone(), count: *count, message }
            }
            None => Outcome::Create { message },
        }
    }

    /// Remembers under which name a report was written.
    pub(super) fn written(&mut self, report: &Report, name: String) {
        let (key, _) = self.identity(report);
        bound(&mut self.written);
        self.written.insert(key, (name, 1));
    }

    /// Takes a token of the object's budget.
    fn spend(&mut self, report: &Report) -> bool {
        bound(&mut self.budget);
        let (tokens, since) = self.budget.entry(object(report)).or_insert((BURST, report.at));
        let seconds = report.at.duration_since(*since).as_secs_f64();
        *tokens = (*tokens + seconds / REFILL_SECONDS).min(BURST);
        *since = report.at;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    /// What makes two reports the same event, and the message it shows.
    fn identity(&mut self, report: &Report) -> (String, String) {
        bound(&mut self.similar);
        let alike = format!("{}/{}/{}", object(report), report.kind.word(), report.reason);
        let (messages, since) = self.similar.entry(alike.clone()).or_insert_with(|| (HashSet::new(), report.at));
        if report.at.duration_since(*since).as_secs() > SIMILAR_SECONDS {
            messages.clear();
        }
        *since = report.at;
        if messages.len() < SIMILAR || messages.contains(&report.message) {
            messages.insert(report.message.clone());
        }
        if messages.len() < SIMILAR {
            return (format!("{alike}/{}", report.message), report.message.clone());
        }
        (alike, format!("(combined from similar events): {}", report.message))
    }
}

fn object(report: &Report) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let about = &report.about;
    let parts = [&about.kind, &about.namespace, &about.name, &about.uid, &about.field_path];
    parts.map(text).join("/")
}

/// Forgetting everything now and then costs a few repeated events; an order of use would cost more.
fn bound<V>(memory: &mut HashMap<String, V>) {
    if memory.len() >= REMEMBERED {
        memory.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::EventType;
    use super::*;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn report(message: &str, second: i64) -> Report {
        Report {
            about: ObjectReference { name: Some("web".to_owned()), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "Pulled".to_owned(),
            message: message.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_same_again_raises_the_count() {
        let mut c = Correlator::default();
        assert_eq!(c.correlate(&report("x", 0)), Outcome::Create { message: "x".to_owned() });
        c.written(&report("x", 0), "web.1".to_owned());
        let want = Outcome::Repeat { name: "web.1".to_owned(), count: 2, message: "x".to_owned() };
        assert_eq!(c.correlate(&report("x", 1)), want);
    }

    #[test]
    fn the_tenth_similar_message_is_combined() {
        let mut c = Correlator::default();
        for i in 0..9 {
            assert_eq!(c.correlate(&report(&i.to_string(), 0)), Outcome::Create { message: i.to_string() });
        }
        let want = Outcome::Create { message: "(combined from similar events): 9".to_owned() };
        assert_eq!(c.correlate(&report("9", 0)), want);
    }

    #[test]
    fn a_flood_is_cut_and_let_through_again_slowly() {
        let mut c = Correlator::default();
        for _ in 0..25 {
            assert_ne!(c.correlate(&report("x", 0)), Outcome::Drop);
        }
        assert_eq!(c.correlate(&report("x", 0)), Outcome::Drop);
        assert_ne!(c.correlate(&report("x", 301)), Outcome::Drop);
        assert_eq!(c.correlate(&report("x", 301)), Outcome::Drop);
    }
}
