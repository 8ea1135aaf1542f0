//! The bodies of the requests, and the orders that they mean.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Ordered, Place, needed, text};
use crate::domain::drill::Announcement;
use crate::domain::time::Timestamp;
use crate::engine::order::Order;

/// The longest name.
const NAME: usize = 200;
/// The longest text.
const TEXT: usize = 4000;
/// The most participants.
const PARTICIPANTS: usize = 100;

/// The body of a request.
pub(super) trait Body: DeserializeOwned + Send + 'static {
    /// The order that it means, on what the path names.
    fn order(self, place: Place) -> Ordered;
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Declare {
    incident: String,
    by: String,
    reason: String,
    at: Option<Timestamp>,
}

impl Body for Declare {
    fn order(self, _place: Place) -> Ordered {
        let (by, reason) = (needed("by", self.by, NAME)?, needed("reason", self.reason, TEXT)?);
        Ok(Order::Declare { incident: needed("incident", self.incident, NAME)?, by, reason, at: self.at })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    by: String,
    #[serde(default)]
    undo: bool,
}

impl Body for Step {
    fn order(self, Place { id: incident, part: step, .. }: Place) -> Ordered {
        Ok(Order::Step { incident, step, by: needed("by", self.by, NAME)?, undo: self.undo })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    by: String,
}

impl Body for Close {
    fn order(self, Place { id: incident, .. }: Place) -> Ordered {
        Ok(Order::Close { incident, by: needed("by", self.by, NAME)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartDrill {
    drill: String,
    by: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    participants: Vec<String>,
    #[serde(default)]
    plan: String,
    #[serde(default)]
    expected_loss: String,
}

impl Body for StartDrill {
    fn order(self, _place: Place) -> Ordered {
        if self.participants.len() > PARTICIPANTS {
            return Err(format!("at most {PARTICIPANTS} participants are accepted"));
        }
        let participants = self.participants.into_iter().map(|name| needed("participants", name, NAME));
        let announcement = Announcement {
            environment: text("environment", self.environment, NAME)?,
            participants: participants.collect::<Result<_, _>>()?,
            plan: text("plan", self.plan, TEXT)?,
            expected_loss: text("expected_loss", self.expected_loss, TEXT)?,
        };
        let (drill, by) = (needed("drill", self.drill, NAME)?, needed("by", self.by, NAME)?);
        Ok(Order::StartDrill { drill, by, announcement })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovered {
    by: String,
}

impl Body for Recovered {
    fn order(self, Place { id: drill, .. }: Place) -> Ordered {
        Ok(Order::Recovered { drill, by: needed("by", self.by, NAME)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    by: String,
    #[serde(default)]
    text: String,
}

impl Body for Finish {
    fn order(self, Place { id: drill, .. }: Place) -> Ordered {
        Ok(Order::Finish { drill, by: needed("by", self.by, NAME)?, text: text("text", self.text, TEXT)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Abort {
    by: String,
    #[serde(default)]
    text: String,
}

impl Body for Abort {
    fn order(self, Place { id: drill, .. }: Place) -> Ordered {
        Ok(Order::Abort { drill, by: needed("by", self.by, NAME)?, text: text("text", self.text, TEXT)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    by: String,
    text: String,
}

impl Body for Note {
    fn order(self, place: Place) -> Ordered {
        Ok(Order::Note { on: place.on(), by: needed("by", self.by, NAME)?, text: needed("text", self.text, TEXT)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    by: String,
    link: String,
}

impl Body for Change {
    fn order(self, place: Place) -> Ordered {
        let link = needed("link", self.link, TEXT)?;
        let is_web = url::Url::parse(&link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_web {
            return Err("`link` must be a URL that begins with http:// or https://".to_owned());
        }
        Ok(Order::Change { on: place.on(), by: needed("by", self.by, NAME)?, link })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenGap {
    by: String,
    text: String,
    owner: String,
    due: jiff::civil::Date,
}

impl Body for OpenGap {
    fn order(self, place: Place) -> Ordered {
        Ok(Order::OpenGap {
            on: place.on(),
            by: needed("by", self.by, NAME)?,
            text: needed("text", self.text, TEXT)?,
            owner: needed("owner", self.owner, NAME)?,
            due: self.due,
        })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseGap {
    by: String,
}

impl Body for CloseGap {
    fn order(self, place: Place) -> Ordered {
        let number = place.part.parse().map_err(|_| "a gap has a number".to_owned())?;
        Ok(Order::CloseGap { on: place.on(), number, by: needed("by", self.by, NAME)? })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledge {
    contract: String,
    by: String,
    #[serde(default)]
    text: String,
}

impl Body for Acknowledge {
    fn order(self, _place: Place) -> Ordered {
        let (contract, by) = (needed("contract", self.contract, NAME)?, needed("by", self.by, NAME)?);
        Ok(Order::Acknowledge { contract, by, text: text("text", self.text, TEXT)? })
    }
}
