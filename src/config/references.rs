//! The names by which sections refer to contracts and checks.

use serde_json::json;

use crate::decode::values::{Name, Word as _, reference};
use crate::decode::yaml::Value;
use crate::decode::{Decode, Decoder, Node, Referent};

reference! {
    /// The name of an existing contract.
    ContractRef: "contract" of contracts
}
reference! {
    /// The name of an existing contract that has an `rto`.
    ClockRef: "contract with an rto" of contracts
}

/// `CONTRACT/CHECK`: an existing check of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRef {
    /// The contract's name.
    pub contract: Name,
    /// The check's name.
    pub check: Name,
}

impl CheckRef {
    /// What it refers to.
    pub const REFERENT: Referent = Referent { noun: "check", section: "contracts" };
    const EXPECTED: &'static str = "the names of a contract and of one of its checks, such as api/health";
}

impl Decode for CheckRef {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            cx.wrong_type(node, Self::EXPECTED);
            return None;
        };
        let names = text.split_once('/').and_then(|(contract, check)| Name::parse(contract).zip(Name::parse(check)));
        let Some((contract, check)) = names else {
            cx.invalid(node.at, "reference", Self::EXPECTED);
            return None;
        };
        cx.refer(Self::REFERENT, text, node.at);
        Some(Self { contract, check })
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}$"})
    }
}
