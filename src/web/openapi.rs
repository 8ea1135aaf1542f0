//! The description of the API, made from its types.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::admin::described;
use super::api::{ErrorAnswer, RecoveriesAnswer, TriggersAnswer};
use crate::export::history::HistoryReport;
use crate::export::report::{ContractStatus, StatusReport};
use crate::export::shards::ShardsReport;

/// Makes the schema of a type, and gives the place where it stands.
pub(super) type Described = fn(&mut SchemaGenerator) -> Value;

/// A path that can be asked for.
pub(super) struct Asked {
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) answer: Described,
    /// The statuses of errors, with what they mean.
    pub(super) errors: &'static [Meaning],
}

/// A status, and what it means.
pub(super) type Meaning = (&'static str, &'static str);

/// A parameter of a path, a query or a header.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) meaning: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Time,
    Number,
    /// The format of a report.
    Format,
}

pub(super) const CONTRACT: Parameter =
    Parameter { name: "contract", place: "query", meaning: "Only this contract.", kind: Kind::Text };
const SINCE: Parameter =
    Parameter { name: "since", place: "query", meaning: "Only what is not older than this.", kind: Kind::Time };
pub(super) const LIMIT: Parameter =
    Parameter { name: "limit", place: "query", meaning: "At most this many, up to 10000.", kind: Kind::Number };
const NAME: Parameter = Parameter { name: "name", place: "path", meaning: "Its name.", kind: Kind::Text };
const TRIGGER: Parameter =
    Parameter { name: "trigger", place: "query", meaning: "Only this trigger.", kind: Kind::Text };
pub(super) const BAD_QUERY: Meaning = ("400", "The query is wrong.");
pub(super) const NO_STORAGE: Meaning = ("503", "The storage cannot be read.");

const ASKED: [Asked; 7] = [
    Asked {
        path: "/api/v1/status",
        summary: "The status of everything, computed for this moment.",
        parameters: &[],
        answer: schema::<StatusReport>,
        errors: &[],
    },
    Asked {
        path: "/api/v1/shards",
        summary: "All shards of the configuration, as this one knows them from its peers.",
        parameters: &[],
        answer: schema::<ShardsReport>,
        errors: &[("404", "There are no shards, or no peers are configured.")],
    },
    Asked {
        path: "/api/v1/contracts/{name}",
        summary: "The status of one contract.",
        parameters: &[NAME],
        answer: schema::<ContractStatus>,
        errors: &[("404", "There is no such contract.")],
    },
    Asked {
        path: "/api/v1/history",
        summary: "The statuses of the past, with the times in which nobody looked. The default is the last day. The \
                  limit is that of changes of each objective.",
        parameters: &[CONTRACT, SINCE, LIMIT],
        answer: schema::<HistoryReport>,
        errors: &[BAD_QUERY, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/recoveries",
        summary: "Recoveries that are over, the newest first.",
        parameters: &[CONTRACT, SINCE, LIMIT],
        answer: schema::<RecoveriesAnswer>,
        errors: &[BAD_QUERY, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/triggers",
        summary: "The triggers as they stand, and their firings, the newest first.",
        parameters: &[TRIGGER, SINCE, LIMIT],
        answer: schema::<TriggersAnswer>,
        errors: &[BAD_QUERY, NO_STORAGE],
    },
    Asked {
        path: "/api/v1/openapi.json",
        summary: "This description.",
        parameters: &[],
        answer: |_| json!({ "type": "object" }),
        errors: &[],
    },
];

pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The description, as `OpenAPI` 3.1.
#[must_use]
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(describe);
    &DOCUMENT
}

fn describe() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let error = schema::<ErrorAnswer>(&mut generator);
    let mut paths = Map::new();
    for asked in ASKED.iter().chain(&described::READ) {
        add(&mut paths, asked.path, "get", read(asked, &error, &mut generator));
    }
    for order in described::orders() {
        add(&mut paths, &order.path, "post", order.operation(&error, &mut generator));
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dr-exporter",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What dr-exporter knows about disaster-recovery contracts. Times are in RFC 3339 and UTC. \
                            What is null is not known.",
        },
        // The directory above `api`, so that it also fits behind a prefix.
        "servers": [{ "url": "../.." }],
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// Adds what can be done with a path.
fn add(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let methods = paths.entry(path).or_insert_with(|| json!({}));
    if let Some(methods) = methods.as_object_mut() {
        methods.insert(method.to_owned(), operation);
    }
}

fn read(asked: &Asked, error: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut content = json_of(&(asked.answer)(generator));
    if asked.parameters.iter().any(|parameter| matches!(parameter.kind, Kind::Format))
        && let Some(types) = content.as_object_mut()
    {
        types.extend(["text/markdown", "text/html"].map(|text| (text.to_owned(), json!({ "schema": TEXT.clone() }))));
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "The answer.", "content": content }));
    responses.extend(errors(asked.errors, error));
    json!({
        "operationId": identifier("", asked.path),
        "summary": asked.summary,
        "parameters": asked.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
    })
}

static TEXT: LazyLock<Value> = LazyLock::new(|| json!({ "type": "string" }));

pub(super) fn json_of(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// The answers to what is wrong or refused.
pub(super) fn errors(errors: &[Meaning], error: &Value) -> impl Iterator<Item = (String, Value)> {
    let answer = |(status, meaning): &Meaning| {
        ((*status).to_owned(), json!({ "description": meaning, "content": json_of(error) }))
    };
    errors.iter().map(answer)
}

/// A name that no other operation has: what is done, and the words of the path.
pub(super) fn identifier(verb: &str, path: &str) -> String {
    let path = path.trim_start_matches("/api/v1/").trim_end_matches(".json");
    let words = path.split('/').map(|part| part.trim_matches(['{', '}']));
    let words = std::iter::once(verb).chain(words).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

pub(super) fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Number => json!({ "type": "integer", "minimum": 0 }),
        Kind::Format => json!({ "enum": ["json", "markdown", "html"], "default": "json" }),
    };
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.meaning,
        "schema": schema,
    })
}
