//! Asks one resolver for a name. Every run asks again, without a cache, a hosts file or search
//! domains.

use std::collections::BTreeSet;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::time::Instant;

use super::answer::{ALIASES, Question, Said, Target, circle, is_of_one_who_knows, name_of, read, too_many_aliases};
use super::wire::Way;
use super::{ALIAS_ELSEWHERE, LOCAL, NO_RECORDS, NO_SUCH_NAME, QUERY_REFUSED, REFERRAL, SERVER_FAILURE, TCP_FAILED};
use crate::clients::tls::ReloadingTls;
use crate::clock;
use crate::decode::values::Resolver;
use crate::domain::observation::{Finding, Reason};

/// The answer of one resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// All targets.
    pub targets: BTreeSet<Target>,
    /// The lowest TTL along the way.
    pub ttl: Duration,
    /// When it arrived.
    pub at: Instant,
}

/// Asks a resolver. If it only answers with an alias, its target is asked for next.
///
/// # Errors
/// There is no answer by `deadline`, or the name leads nowhere.
pub(super) async fn resolve(
    resolver: &Resolver,
    question: &Question,
    trust: &ReloadingTls,
    deadline: Instant,
) -> Result<Answer, Finding> {
    let mut way = Way::to(resolver, trust, deadline);
    let mut alias = match said(&way.ask(question).await?, question)? {
        Step::End(answer) => return Ok(answer),
        Step::On(alias) => alias,
    };
    let mut passed = vec![question.name.clone()];
    while passed.len() <= ALIASES {
        if passed.contains(&alias.question.name) {
            return Err(circle(&question.name, &alias.question.name));
        }
        passed.push(alias.question.name.clone());
        let message = way.ask(&alias.question).await;
        let (came, knows) = (message.is_ok(), message.as_ref().is_ok_and(is_of_one_who_knows));
        alias.resolves |= message.as_ref().is_ok_and(|message| message.metadata.recursion_available);
        match message.and_then(|message| said(&message, &alias.question)) {
            Ok(Step::End(answer)) => return Ok(Answer { ttl: answer.ttl.min(alias.ttl), ..answer }),
            Ok(Step::On(next)) => alias = next.behind(&alias),
            Err(finding) => return Err(alias.unresolved(&finding, came, knows, question)),
        }
    }
    Err(too_many_aliases(&question.name))
}

/// The next step after an answer.
enum Step {
    End(Answer),
    On(Alias),
}

/// An alias without the records of its target.
struct Alias {
    /// The question to ask next.
    question: Question,
    /// The lowest TTL along the way.
    ttl: Duration,
    /// Whether the server resolves names for others. Otherwise it only answers for its own zones.
    resolves: bool,
}

impl Alias {
    /// The combination of an earlier alias and this one.
    fn behind(self, before: &Self) -> Self {
        Self { ttl: self.ttl.min(before.ttl), resolves: self.resolves || before.resolves, ..self }
    }

    /// The finding if nothing is known about the target of the alias. Either no answer `came`, or
    /// the answer says nothing. A server that does not resolve names has said all that it can with
    /// the alias.
    fn unresolved(&self, finding: &Finding, came: bool, knows: bool, question: &Question) -> Finding {
        const CANNOT_TELL: [&Reason; 4] = [&QUERY_REFUSED, &SERVER_FAILURE, &REFERRAL, &TCP_FAILED];
        let denied = [&NO_SUCH_NAME, &NO_RECORDS].contains(&finding.reason) && !knows;
        let lost = !came && finding.reason != &LOCAL;
        let (shown, target) = (name_of(&question.name), name_of(&self.question.name));
        let detail = format!("{shown} is an alias of {target}; {}", finding.detail);
        if !self.resolves && (denied || lost || CANNOT_TELL.contains(&finding.reason)) {
            return Finding::new(&ALIAS_ELSEWHERE, detail);
        }
        Finding::new(finding.reason, detail)
    }
}

fn said(message: &Message, question: &Question) -> Result<Step, Finding> {
    match read(message, question) {
        Ok(Said::Leads { targets, ttl }) => Ok(Step::End(Answer { targets, ttl, at: clock::instant() })),
        // The part that was cut off may contain it.
        _ if message.metadata.truncation && message.metadata.response_code == ResponseCode::NoError => {
            Err(Finding::new(&TCP_FAILED, "its answer is truncated over TCP, too"))
        }
        Ok(Said::Alias { name, ttl }) => {
            let question = Question { name, kind: question.kind };
            Ok(Step::On(Alias { question, ttl, resolves: message.metadata.recursion_available }))
        }
        Err(finding) => Err(finding),
    }
}
