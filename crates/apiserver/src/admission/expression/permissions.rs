//! What expressions ask of the server's authorizers.

use crate::admission::Attributes;
use crate::authz::{Decision as Answer, Question};
use crate::context::UserInfo;
use crate::server::Api;
use futures::FutureExt;
use kaji_cel::{AuthorizationRequest, Authorizer, Decision};
use parking_lot::Mutex;
use std::sync::Arc;

/// Permissions, asked for once; what cannot be answered at once is noted.
pub(in crate::admission) struct Permissions {
    api: Api,
    user: Arc<UserInfo>,
    answers: Mutex<Vec<(AuthorizationRequest, Decision)>>,
    open: Mutex<Vec<AuthorizationRequest>>,
}

impl Permissions {
    /// For the user of a write.
    pub(in crate::admission) fn new(a: &Attributes<'_>) -> Arc<Self> {
        Arc::new(Permissions {
            api: a.api.clone(),
            user: a.cx.user.clone(),
            answers: Mutex::default(),
            open: Mutex::default(),
        })
    }

    /// Runs evaluations until every permission they ask for is known; each round asks for something new.
    pub(in crate::admission) async fn settled<T>(&self, mut evaluate: impl FnMut() -> T) -> T {
        loop {
            let done = evaluate();
            if !self.settle().await {
                return done;
            }
        }
    }

    /// Finds the answers that were missing; false if none were.
    async fn settle(&self) -> bool {
        let open = std::mem::take(&mut *self.open.lock());
        for request in &open {
            let answer = self.api.authorize(&self.question(request)).await;
            self.keep(request, answer);
        }
        !open.is_empty()
    }

    fn question(&self, request: &AuthorizationRequest) -> Question {
        let account = request.service_account.as_ref();
        Question {
            user: account
                .map_or_else(|| self.user.clone(), |(namespace, name)| service_account(namespace, name).into()),
            verb: request.verb.clone(),
            is_resource: request.path.is_none(),
            group: request.group.clone(),
            version: "*".to_owned(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            path: request.path.clone().unwrap_or_default(),
            field_selector: request.field_selector.clone(),
            label_selector: request.label_selector.clone(),
        }
    }

    fn keep(&self, request: &AuthorizationRequest, answer: Answer) -> Decision {
        let decision = match answer {
            Answer::Allow(reason) => Decision { allowed: true, reason, error: None },
            Answer::Deny(reason) | Answer::NoOpinion(reason) => Decision { allowed: false, reason, error: None },
        };
        self.answers.lock().push((request.clone(), decision.clone()));
        decision
    }
}

/// A service account, as its tokens authenticate it.
fn service_account(namespace: &str, name: &str) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    }
}

impl Authorizer for Permissions {
    fn authorize(&self, request: &AuthorizationRequest) -> Decision {
        if let Some((_, decision)) = self.answers.lock().iter().find(|(r, _)| r == request) {
            return decision.clone();
        }
        // Rules are looked up without waiting. What must be waited for is asked after this round, and the round repeated.
        match self.api.authorize(&self.question(request)).now_or_never() {
            Some(answer) => self.keep(request, answer),
            None => {
                self.open.lock().push(request.clone());
                Decision::default()
            }
        }
    }
}
