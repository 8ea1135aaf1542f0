//! The admin API as the description of the API has it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bodies;
use super::reading::{IncidentsAnswer, RecordAnswer};
use crate::domain::drill::DrillRun;
use crate::domain::incident::Incident;
use crate::domain::response::Alarms;
use crate::export::event::EventReport;
use crate::export::people::DrillsReport;
use crate::export::period::PeriodReport;
use crate::web::openapi::{
    Asked, BAD_QUERY, CONTRACT, Described, Kind, LIMIT, Meaning, NO_STORAGE, Parameter, errors, identifier, json_of,
    parameter, schema,
};

const ID: Parameter = Parameter {
    name: "id",
    place: "path",
    meaning: "The id, or the name: then the open one is meant, or else the last one.",
    kind: Kind::Text,
};
const STEP: Parameter = Parameter { name: "part", place: "path", meaning: "The step.", kind: Kind::Text };
const GAP: Parameter = Parameter { name: "part", place: "path", meaning: "The number of the gap.", kind: Kind::Number };
const OUTPUT: Parameter =
    Parameter { name: "output", place: "query", meaning: "The format of the report.", kind: Kind::Format };
const SINCE: Parameter = Parameter {
    name: "since",
    place: "query",
    meaning: "How long the period is, such as 90d, which is the default.",
    kind: Kind::Text,
};
const AFTER: Parameter =
    Parameter { name: "after", place: "query", meaning: "Only entries with a higher number.", kind: Kind::Number };
const KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: "header",
    meaning: "An order that is repeated with the same key is carried out once.",
    kind: Kind::Text,
};
const AGE: Parameter = Parameter {
    name: "Order-Age",
    place: "header",
    meaning: "How many seconds ago the person gave the order. A declaration without `at` counts from then.",
    kind: Kind::Text,
};
const NOT_FOUND: Meaning = ("404", "There is no such thing.");

/// What can be read.
pub(in crate::web) const READ: [Asked; 8] = [
    Asked {
        path: "/api/v1/incidents",
        summary: "The incidents, the newest first.",
        parameters: &[],
        answer: schema::<IncidentsAnswer>,
        errors: &[],
    },
    Asked {
        path: "/api/v1/incidents/{id}",
        summary: "One incident.",
        parameters: &[ID],
        answer: schema::<Incident>,
        errors: &[NOT_FOUND],
    },
    Asked {
        path: "/api/v1/incidents/{id}/report",
        summary: "The report on an incident.",
        parameters: &[ID, OUTPUT],
        answer: schema::<EventReport>,
        errors: &[BAD_QUERY, NOT_FOUND, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/drills",
        summary: "The drills of the configuration, and those that were started, the newest first.",
        parameters: &[],
        answer: schema::<DrillsReport>,
        errors: &[],
    },
    Asked {
        path: "/api/v1/drills/{id}",
        summary: "One drill that was started.",
        parameters: &[ID],
        answer: schema::<DrillRun>,
        errors: &[NOT_FOUND],
    },
    Asked {
        path: "/api/v1/drills/{id}/report",
        summary: "The report on a drill.",
        parameters: &[ID, OUTPUT],
        answer: schema::<EventReport>,
        errors: &[BAD_QUERY, NOT_FOUND, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/record",
        summary: "Entries of the record, the oldest first. The limit is 100 by default, and 1000 at most.",
        parameters: &[AFTER, LIMIT],
        answer: schema::<RecordAnswer>,
        errors: &[BAD_QUERY, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/report",
        summary: "The report on a period.",
        parameters: &[SINCE, CONTRACT, OUTPUT],
        answer: schema::<PeriodReport>,
        errors: &[BAD_QUERY, NOT_FOUND, NO_STORAGE],
    },
];

/// The answer to an acknowledgement.
#[derive(Serialize, JsonSchema)]
struct AcknowledgementAnswer {
    /// The contract.
    contract: String,
    /// Its alarms.
    alarms: Alarms,
}

/// An order of a person.
pub(in crate::web) struct Ordered {
    pub(in crate::web) path: String,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: Described,
    answer: Described,
}

/// The statuses of what is not done.
const NOT_DONE: [Meaning; 9] = [
    ("400", "The request is wrong."),
    ("401", "A password is needed."),
    ("403", "It may not be done, or the admin API is off."),
    NOT_FOUND,
    ("409", "It does not fit the state."),
    ("413", "The body is longer than 64 KiB."),
    ("415", "The body is not called application/json."),
    ("429", "There are too many orders of this user."),
    ("503", "It could not be stored."),
];

/// What people can order.
pub(in crate::web) fn orders() -> Vec<Ordered> {
    let mut orders = vec![
        order::<bodies::Declare>("incidents", "Declares an incident, or joins the open one.", &[], schema::<Incident>),
        order::<bodies::Step>(
            "incidents/{id}/steps/{part}",
            "Stamps a step as taken, or takes a stamp back.",
            &[ID, STEP],
            schema::<Incident>,
        ),
        order::<bodies::Close>("incidents/{id}/close", "Closes an incident.", &[ID], schema::<Incident>),
        order::<bodies::StartDrill>("drills", "Starts a drill, or tells of the one that goes on.", &[], drill()),
        order::<bodies::Recovered>("drills/{id}/recovered", "Stamps the recovery as complete.", &[ID], drill()),
        order::<bodies::Finish>("drills/{id}/finish", "Ends a drill.", &[ID], drill()),
        order::<bodies::Finish>("drills/{id}/close", "The same as finish.", &[ID], drill()),
        order::<bodies::Abort>("drills/{id}/abort", "Gives a drill up.", &[ID], drill()),
        order::<bodies::Acknowledge>(
            "acknowledgements",
            "Reacts to the alarm of a contract.",
            &[],
            schema::<AcknowledgementAnswer>,
        ),
    ];
    for (what, answer) in [("incidents", schema::<Incident> as Described), ("drills", drill())] {
        let on = |path: &str| format!("{what}/{{id}}/{path}");
        orders.extend([
            order::<bodies::Note>(&on("notes"), "Adds a note.", &[ID], answer),
            order::<bodies::Change>(&on("change"), "Links the change of the contract.", &[ID], answer),
            order::<bodies::OpenGap>(&on("gaps"), "Writes down a gap.", &[ID], answer),
            order::<bodies::CloseGap>(&on("gaps/{part}/close"), "Closes a gap.", &[ID, GAP], answer),
        ]);
    }
    orders
}

fn drill() -> Described {
    schema::<DrillRun>
}

fn order<B: JsonSchema>(
    path: &str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answer: Described,
) -> Ordered {
    Ordered { path: format!("/api/v1/{path}"), summary, parameters, body: body::<B>, answer }
}

/// The schema of a body. It is read and not written: what has a default may be left out.
fn body<B: JsonSchema>(_: &mut SchemaGenerator) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<B>().to_value()
}

impl Ordered {
    /// The operation, as `OpenAPI` has it.
    pub(in crate::web) fn operation(&self, error: &Value, generator: &mut SchemaGenerator) -> Value {
        let content = json_of(&(self.answer)(generator));
        let done = [("200", "It is done, or was done before."), ("201", "Something new was made.")];
        let done =
            done.map(|(status, meaning)| (status.to_owned(), json!({ "description": meaning, "content": content })));
        let responses: Map<String, Value> = done.into_iter().chain(errors(&NOT_DONE, error)).collect();
        json!({
            "operationId": identifier("post", &self.path),
            "summary": self.summary,
            "parameters": self.parameters.iter().chain(&[KEY, AGE]).map(parameter).collect::<Vec<_>>(),
            "requestBody": { "required": true, "content": json_of(&(self.body)(generator)) },
            "responses": responses,
        })
    }
}
