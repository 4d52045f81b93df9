//! A small memory of answers from outside: at most so many, and none for longer than half a minute.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const CAPACITY: usize = 10_000;
/// As CoreDNS's `cache 30`: a name that moves is found again soon.
const LONGEST: u32 = 30;

/// What an answer depends on.
type Asked = (Name, RecordType, bool);

/// Answers by question.
#[derive(Default)]
pub(crate) struct Cache {
    answers: Mutex<HashMap<Asked, Kept>>,
}

struct Kept {
    message: Message,
    since: Instant,
    ttl: u32,
}

impl Cache {
    /// A remembered answer, its times to live counted down.
    pub(crate) fn get(&self, query: &Query, dnssec: bool, now: Instant) -> Option<Message> {
        let mut answers = self.answers.lock();
        let asked = asked(query, dnssec);
        let kept = answers.get(&asked)?;
        let age = u32::try_from(now.duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
        if age >= kept.ttl {
            answers.remove(&asked);
            return None;
        }
        let mut message = kept.message.clone();
        drop(answers);
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        sections.into_iter().flatten().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        Some(message)
    }

    /// Remembers an answer, if it is one that may be.
    pub(crate) fn put(&self, query: &Query, dnssec: bool, message: &Message, now: Instant) {
        let Some(ttl) = lifetime(message) else { return };
        let mut answers = self.answers.lock();
        if answers.len() >= CAPACITY {
            answers.retain(|_, kept| now.duration_since(kept.since) < Duration::from_secs(kept.ttl.into()));
        }
        if answers.len() >= CAPACITY
            && let Some(any) = answers.keys().next().cloned()
        {
            answers.remove(&any);
        }
        answers.insert(asked(query, dnssec), Kept { message: message.clone(), since: now, ttl });
    }
}

fn asked(query: &Query, dnssec: bool) -> Asked {
    (query.name().to_lowercase(), query.query_type(), dnssec)
}

/// Seconds that an answer holds; none for failures and for negative answers that do not say.
fn lifetime(message: &Message) -> Option<u32> {
    let fine = matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !fine || message.metadata.truncation {
        return None;
    }
    let ttl = if message.answers.is_empty() {
        message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
    } else {
        message.answers.iter().map(|record| record.ttl).min()
    };
    ttl.map(|ttl| ttl.min(LONGEST)).filter(|ttl| *ttl > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;

    #[test]
    fn answers_age_and_go() {
        let name = Name::from_ascii("Example.org.").unwrap();
        let query = Query::query(name.clone(), RecordType::A);
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, 7))));
        let (cache, start) = (Cache::default(), Instant::now());
        cache.put(&query, false, &message, start);
        let lower = Query::query(Name::from_ascii("example.org.").unwrap(), RecordType::A);
        let after = |seconds| cache.get(&lower, false, start + Duration::from_secs(seconds));
        assert_eq!(after(10).unwrap().answers[0].ttl, 290);
        assert!(cache.get(&lower, true, start).is_none());
        assert!(after(30).is_none());
        message.metadata.response_code = ResponseCode::ServFail;
        cache.put(&query, false, &message, start);
        assert!(after(0).is_none());
    }
}
