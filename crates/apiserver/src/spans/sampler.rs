//! Which traces are told: those that somebody else tells, and of those that begin here so many of a million, chosen by
//! their ids alone, so that everybody who counts alike chooses alike (Go `otel/sdk/trace/sampling.go`).

use super::context::Context;

/// Ids are compared by 63 bits of theirs.
const ALL: f64 = 9_223_372_036_854_775_808.0;

/// A share of all traces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    /// Ids below are chosen.
    below: u64,
}

/// How a request's trace goes on, or begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The request's own span.
    pub(super) context: Context,
    /// Whose part it is.
    pub(super) parent: Option<[u8; 8]>,
    /// Whether that one is elsewhere.
    pub(super) remote: bool,
    /// What the client said, where it is not believed.
    pub(super) link: Option<Context>,
}

impl Sampler {
    pub(super) fn new(per_million: i32) -> Self {
        Sampler { below: (f64::from(per_million) / 1e6 * ALL) as u64 }
    }

    /// Whether a trace that begins here is told.
    pub(super) fn takes(self, trace: &[u8; 16]) -> bool {
        let last: [u8; 8] = std::array::from_fn(|i| trace[8 + i]);
        u64::from_be_bytes(last) >> 1 < self.below
    }

    /// A request's span: part of the trace that a trusted client began, or of that of its authentication; for others a
    /// trace of its own, since they are not to choose what is told (apiserver `endpoints/filters/traces.go`).
    pub(super) fn origin(self, client: Option<Context>, authentication: Option<&Context>, trusted: bool) -> Origin {
        let remote = trusted && client.is_some();
        match (trusted, client) {
            (false, link) => Origin { context: Context::root(|trace| self.takes(trace)), parent: None, remote, link },
            (true, client) => match client.as_ref().or(authentication) {
                None => Origin { context: Context::root(|trace| self.takes(trace)), parent: None, remote, link: None },
                Some(parent) => Origin { context: parent.next(), parent: Some(parent.span), remote, link: None },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(trace: u8, sampled: bool) -> Context {
        Context { trace: [trace; 16], span: [trace; 8], sampled, state: "a=1".to_owned() }
    }

    #[test]
    fn ids_decide() {
        let id = |last: u64| {
            let mut trace = [1; 16];
            trace[8..].copy_from_slice(&last.to_be_bytes());
            trace
        };
        for (per_million, last, taken) in [
            (0, 0, false),
            (1_000_000, u64::MAX, true),
            (500_000, u64::MAX / 2 - 1, true),
            (500_000, u64::MAX / 2 + 1, false),
            (1, 0, true),
            (1, u64::MAX / 1_000_000 - 1_000_000, true),
            (1, u64::MAX / 1_000_000 + 1_000_000, false),
        ] {
            assert_eq!(Sampler::new(per_million).takes(&id(last)), taken, "{per_million} {last}");
        }
        let tenth = (0..10_000).filter(|_| Context::root(|t| Sampler::new(100_000).takes(t)).sampled).count();
        assert!((700..1300).contains(&tenth), "{tenth} of 10000");
    }

    #[test]
    fn only_the_trusted_choose() {
        let (all, none) = (Sampler::new(1_000_000), Sampler::new(0));
        let authentication = context(9, true);
        for (sampler, client, trusted, parent, sampled, link) in [
            (none, Some(context(1, true)), true, Some(1), true, false),
            (all, Some(context(1, false)), true, Some(1), false, false),
            (all, None, true, Some(9), true, false),
            (none, Some(context(1, true)), false, None, false, true),
            (all, Some(context(1, false)), false, None, true, true),
            (all, None, false, None, true, false),
        ] {
            let told = format!("{client:?} {trusted}");
            let origin = sampler.origin(client.clone(), Some(&authentication), trusted);
            assert_eq!(origin.parent, parent.map(|p| [p; 8]), "{told}");
            assert_eq!(origin.context.sampled, sampled, "{told}");
            assert_eq!(origin.link, client.filter(|_| link), "{told}");
            assert_eq!(origin.remote, parent == Some(1), "{told}");
            let same = parent.is_some_and(|p| origin.context.trace == [p; 16] && origin.context.state == "a=1");
            assert!(same || (parent.is_none() && origin.context.state.is_empty()), "{told}");
        }
    }
}
