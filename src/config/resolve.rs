//! From drafts to the configuration: fills in the defaults, and checks the rules on whatever could
//! be read.

use std::sync::Arc;

use super::model::{
    CheckDraft, CheckSchedule, Config, ConfigDraft, Contract, ContractCheck, ContractDraft, Defaults, Document,
};
use super::{plans, rules, shown};
use crate::checks::KindConfig;
use crate::clients::Connections;
use crate::decode::{Decoder, Node};
use crate::domain::check::{CheckSpec, Feeds};
use crate::domain::contract::ContractSpec;
use crate::engine::snapshot::Share;

/// The parts of the document that contracts and triggers need.
pub(super) struct Scope {
    /// The values for what they leave out.
    pub(super) defaults: Defaults,
    /// The connections without errors.
    pub(super) connections: Connections,
}

/// A check, and what it feeds. None if that is not known.
struct Fed {
    check: CheckDraft,
    feeds: Option<Feeds>,
}

impl ConfigDraft {
    /// The configuration. None if errors were recorded, here or before.
    pub(super) fn resolve(mut self, node: &Node, cx: &mut Decoder<'_>) -> Option<Config> {
        rules::whole(&self, node, cx);
        let scope = Scope {
            defaults: self.defaults.clone().unwrap_or(Defaults::STANDARD),
            connections: Connections::of_tree(node, cx.base),
        };
        let (contracts, triggers) = (self.contracts.take(), self.triggers.take());
        let contracts = each(contracts, "contracts", node, cx, |draft, node, cx| draft.resolve(node, &scope, cx));
        let triggers = each(triggers, "triggers", node, cx, |draft, node, cx| draft.resolve(node, &scope, cx));
        let rest = Self { contracts: Some(Vec::new()), triggers: Some(Vec::new()), ..self };
        let Document { nats, kubernetes, prometheus, incidents, drills, escalation, .. } = rest.whole()?;
        let escalation = plans::escalation(escalation);
        let connections = Connections { nats, kubernetes, prometheus };
        let shown = Arc::new(shown::of(node));
        let contracts = contracts?;
        let share = Share { contracts: contracts.len(), ..Share::default() };
        Some(Config { connections, contracts, triggers: triggers?, incidents, drills, escalation, shown, share })
    }
}

impl ContractDraft {
    /// The contract. None if errors were recorded, here or before.
    fn resolve(mut self, node: &Node, scope: &Scope, cx: &mut Decoder<'_>) -> Option<Contract> {
        rules::contract(&self, node, cx);
        let checks = self.checks.take();
        let fed = each(checks, "checks", node, cx, |check, node, cx| {
            let feeds = rules::check(&self, &check, node, scope, cx);
            Some(Fed { check, feeds })
        });
        if let Some(fed) = &fed {
            let feeds: Vec<Option<Feeds>> = fed.iter().map(|fed| fed.feeds).collect();
            rules::every_objective_is_fed(&self, &feeds, node, cx);
        }
        let checks = fed?.into_iter().map(|Fed { check: CheckDraft { schedule, kind }, feeds }| {
            let kind = kind?;
            Some(ContractCheck { spec: schedule.whole()?.spec(&kind, feeds?, &scope.defaults), kind })
        });
        let checks = checks.collect::<Option<Vec<_>>>()?;
        let spec = Self { checks: Some(Vec::new()), ..self }.spec(&scope.defaults)?;
        Some(Contract { spec, checks })
    }

    /// The specification of the contract.
    fn spec(self, defaults: &Defaults) -> Option<ContractSpec> {
        let options = self.whole()?;
        Some(ContractSpec {
            name: options.name.as_str().to_owned(),
            component: options.component,
            owner: options.owner,
            priority: options.priority,
            rto: options.rto.map(|rto| rto.get()),
            rpo: options.rpo.map(|rpo| rpo.get()),
            at_risk_ratio: options.at_risk_ratio.unwrap_or(defaults.at_risk_ratio).get(),
            drill_every: options.drill_every.map(|every| every.get()),
            independent_of: options.independent_of.iter().map(|other| other.name().as_str().to_owned()).collect(),
        })
    }
}

impl CheckSchedule {
    /// The specification of a check with this kind.
    fn spec(self, kind: &KindConfig, feeds: Feeds, defaults: &Defaults) -> CheckSpec {
        let interval = self.interval.unwrap_or(defaults.interval);
        CheckSpec {
            name: self.name.as_str().to_owned(),
            kind: kind.info(),
            interval: interval.get(),
            interval_when_down: self.interval_when_down.unwrap_or(defaults.interval_when_down).min(interval).get(),
            timeout: self.timeout.unwrap_or(defaults.timeout).get(),
            failures_to_trigger: self.failures_to_trigger.unwrap_or(defaults.failures_to_trigger).get(),
            successes_to_recover: self.successes_to_recover.unwrap_or(defaults.successes_to_recover).get(),
            warn_after: self.warn_after.map(|after| after.get()),
            lag_budget: self.lag_budget.map(|budget| budget.get()),
            feeds,
        }
    }
}

/// Resolves each draft in the list under this key, together with its node.
fn each<T, R>(
    drafts: Option<Vec<T>>,
    key: &str,
    node: &Node,
    cx: &mut Decoder<'_>,
    resolve: impl Fn(T, &Node, &mut Decoder<'_>) -> Option<R>,
) -> Option<Vec<R>> {
    let items = node.get(key).map(|entry| entry.node.items()).unwrap_or_default();
    let drafts = drafts?.into_iter().zip(items).enumerate();
    // All of them are resolved, even if one fails, so that each reports its errors.
    let resolved: Vec<Option<R>> =
        cx.under(key, |cx| drafts.map(|(index, (draft, node))| cx.at(index, |cx| resolve(draft, node, cx))).collect());
    resolved.into_iter().collect()
}
