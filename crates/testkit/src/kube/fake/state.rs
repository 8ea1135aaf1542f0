//! What the fake knows, and what it says for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{ADMIN, Call, KINDS, USERS, user};
use super::Fault;
use super::asked::Asked;

/// Group, plural, namespace, name.
pub type Key = (String, String, String, String);
type Reply = (u16, Value);

const ANONYMOUS: &str = "system:anonymous";

#[derive(Default)]
pub struct State {
    objects: BTreeMap<Key, Value>,
    version: u64,
    served: BTreeMap<String, Vec<String>>,
    pub certificates: BTreeMap<Vec<u8>, String>,
    pub calls: Vec<Call>,
    pub faults: BTreeMap<(String, String), Fault>,
}

pub fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "AlreadyExists",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

impl State {
    /// Who asks; nobody when the token is wrong, which is not the same as to have none.
    pub fn who(&self, authorization: &str, certificate: Option<&[u8]>) -> Option<String> {
        if let Some(name) = certificate.and_then(|certificate| self.certificates.get(certificate)) {
            return Some(name.clone());
        }
        let Some(token) = authorization.strip_prefix("Bearer ") else { return Some(ANONYMOUS.to_owned()) };
        if token == ADMIN {
            return Some("admin".to_owned());
        }
        (0..USERS).map(user).find(|user| user.token == token).map(|user| user.name)
    }

    pub fn fault(&mut self, asked: &Asked, who: Option<&str>) -> Option<Fault> {
        if who == Some("admin") || !matches!(asked.verb, "list" | "get") {
            return None;
        }
        let key = (asked.namespace.clone(), asked.plural.clone());
        let fault = self.faults.get(&key)?.clone();
        if let Fault::ExpireOnce = fault {
            if !asked.query.contains("continue=") {
                return None;
            }
            self.faults.remove(&key);
            return Some(Fault::Status(410));
        }
        Some(fault)
    }

    pub fn log(&mut self, who: Option<&str>, asked: &Asked, status: u16, bytes: usize) {
        self.calls.push(Call {
            user: who.unwrap_or_default().to_owned(),
            verb: asked.verb.to_owned(),
            group: asked.group.clone(),
            resource: asked.plural.clone(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            query: asked.query.clone(),
            metadata_only: Some(asked.metadata_only),
            status,
            bytes: Some(bytes),
        });
    }

    pub fn serve(&mut self, who: Option<&str>, asked: &Asked, body: Value) -> Reply {
        const KNOWN: [&str; 4] = ["limit", "continue", "gracePeriodSeconds", "labelSelector"];
        let Some(who) = who else { return (401, status(401, "Unauthorized")) };
        if who != "admin" && !self.allows(who, asked) {
            return forbidden(who, asked);
        }
        if !self.is_served(asked) {
            return (404, Value::String("404 page not found\n".to_owned()));
        }
        // What is not known must not look as if it had been done.
        let names = asked.query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty());
        if let Some(unknown) = names.into_iter().find(|name| !KNOWN.contains(name)) {
            return (501, status(501, &format!("this fake does not know `{unknown}`")));
        }
        match asked.verb {
            "list" => self.list(asked),
            "get" => self.get(asked, asked.metadata_only),
            "create" => self.create(asked, body),
            "update" => self.update(asked, body),
            "patch" => {
                let (code, mut object) = self.get(asked, false);
                if code != 200 {
                    return (code, object);
                }
                merge(&mut object, &body);
                self.update(asked, object)
            }
            "delete" => self.delete(asked),
            _ => (405, status(405, "the server does not allow this method on the requested resource")),
        }
    }

    /// Serves a custom resource in these versions only; its objects go with the last one.
    pub fn serves(&mut self, plural: &str, versions: &[&str]) {
        if versions.is_empty() {
            self.objects.retain(|(_, of, ..), _| of != plural);
        }
        self.served.insert(plural.to_owned(), versions.iter().map(|version| (*version).to_owned()).collect());
    }

    fn is_served(&self, asked: &Asked) -> bool {
        let known = KINDS.into_iter().any(|(_, version, plural, _)| {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            plural == asked.plural && group == asked.group && (asked.is_custom() || version == asked.api_version())
        });
        let custom = || self.served.get(&asked.plural).is_some_and(|versions| versions.contains(&asked.version));
        known && (!asked.is_custom() || custom())
    }

    /// RBAC: a rule of a Role that is bound to the user in the namespace.
    fn allows(&self, who: &str, asked: &Asked) -> bool {
        let has = |list: &Value, wanted: &str| {
            list.as_array().is_some_and(|list| list.iter().any(|item| item == wanted || item == "*"))
        };
        let of = |plural: &'static str| {
            self.objects
                .iter()
                .filter(move |((_, kind, namespace, _), _)| kind == plural && *namespace == asked.namespace)
                .map(|(_, object)| object)
        };
        let bound: BTreeSet<&str> = of("rolebindings")
            .filter(|binding| {
                binding["subjects"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == who))
            })
            .filter_map(|binding| binding["roleRef"]["name"].as_str())
            .collect();
        of("roles")
            .filter(|role| role["metadata"]["name"].as_str().is_some_and(|name| bound.contains(name)))
            .filter_map(|role| role["rules"].as_array())
            .flatten()
            .any(|rule| {
                has(&rule["verbs"], asked.verb)
                    && has(&rule["apiGroups"], &asked.group)
                    && has(&rule["resources"], &asked.plural)
                    && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], &asked.name))
            })
    }

    fn list(&self, asked: &Asked) -> Reply {
        let value = |name: &str| asked.query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        let limit =
            value("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        // No name of Kubernetes has an underscore.
        let after = value("continue").and_then(|token| token.split_once('_'));
        let selector = value("labelSelector").map(unescaped).unwrap_or_default();
        let Some(terms) = terms(&selector) else {
            return (501, status(501, &format!("this fake does not know the selector `{selector}`")));
        };
        let mut found: Vec<(&Key, &Value)> = self
            .objects
            .iter()
            .filter(|((group, plural, namespace, name), object)| {
                terms.iter().all(|(key, values)| {
                    object["metadata"]["labels"][key]
                        .as_str()
                        .is_some_and(|value| values.iter().any(|one| one == value))
                }) && *group == asked.group
                    && *plural == asked.plural
                    && after.is_none_or(|after| (namespace.as_str(), name.as_str()) > after)
                    && (asked.namespace.is_empty() || *namespace == asked.namespace)
            })
            .collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if found.len() > limit {
            metadata["remainingItemCount"] = json!(found.len() - limit);
            found.truncate(limit);
            metadata["continue"] =
                found.last().map_or(Value::Null, |((_, _, namespace, name), _)| json!(format!("{namespace}_{name}")));
        }
        let items = found.into_iter().map(|(_, object)| {
            let mut item = shown(asked, object, asked.metadata_only);
            // Items of a list of the API server's own kinds do not say what they are.
            if let (Some(fields), false, false) = (item.as_object_mut(), asked.metadata_only, asked.is_custom()) {
                fields.retain(|field, _| field != "kind" && field != "apiVersion");
            }
            item
        });
        let items: Vec<Value> = items.collect();
        let (kind, version) = if asked.metadata_only {
            ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (format!("{}List", asked.kind()), asked.api_version())
        };
        (200, json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
    }

    fn get(&self, asked: &Asked, metadata_only: bool) -> Reply {
        match self.objects.get(&asked.key(&asked.name)) {
            Some(object) => (200, shown(asked, object, metadata_only)),
            None => missing(asked),
        }
    }

    fn create(&mut self, asked: &Asked, mut object: Value) -> Reply {
        let key = asked.key(object["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&key) {
            return (409, status(409, &format!("{} \"{}\" already exists", asked.resource(), key.3)));
        }
        if has_status(asked) {
            object["status"] = Value::Null;
        }
        self.version += 1;
        // Of this object alone, in any cluster.
        object["metadata"]["uid"] =
            json!(format!("{:08x}-0000-4000-8000-{:012x}", rand::random::<u32>(), self.version));
        object["metadata"]["creationTimestamp"] = json!(now());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if has_generation(asked) {
            object["metadata"]["generation"] = json!(1);
        }
        object["metadata"]["managedFields"] = managed(asked, &Value::Null, &object);
        self.objects.insert(key, object.clone());
        (201, shown(asked, &object, false))
    }

    fn update(&mut self, asked: &Asked, mut object: Value) -> Reply {
        let key = asked.key(&asked.name);
        let Some(before) = self.objects.get(&key) else { return missing(asked) };
        if has_status(asked) {
            let kept = if asked.status { "spec" } else { "status" };
            object[kept] = before[kept].clone();
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation"] {
            object["metadata"][field] = before["metadata"][field].clone();
        }
        object["metadata"]["managedFields"] = managed(asked, before, &object);
        let changed = object["spec"] != before["spec"] || (!has_status(asked) && object["status"] != before["status"]);
        if has_generation(asked) && changed {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["deletionTimestamp"].is_null() || is_held(&object) {
            self.objects.insert(key, object.clone());
        } else {
            self.objects.remove(&key);
        }
        (200, shown(asked, &object, false))
    }

    /// What has a finalizer is marked, and stays until that is taken off.
    fn delete(&mut self, asked: &Asked) -> Reply {
        let key = asked.key(&asked.name);
        let Some(mut object) = self.objects.remove(&key) else { return missing(asked) };
        self.version += 1;
        if is_held(&object) {
            object["metadata"]["deletionTimestamp"] = json!(now());
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.insert(key, object.clone());
        }
        (200, shown(asked, &object, false))
    }
}

/// A part of a query as it was meant.
fn unescaped(text: &str) -> String {
    url::form_urlencoded::parse(text.as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

/// What labels must be, of a selector of the forms `key=value` and `key in (value,value)`; none if it has others.
fn terms(selector: &str) -> Option<Vec<(String, Vec<String>)>> {
    let mut terms = Vec::new();
    let mut rest = selector;
    while !rest.is_empty() {
        let end = rest.find(')').map_or_else(|| rest.find(',').unwrap_or(rest.len()), |end| end + 1);
        let (term, after) = match rest.find(',').filter(|comma| !rest[..*comma].contains('(')) {
            Some(comma) => rest.split_at(comma),
            None => rest.split_at(end),
        };
        rest = after.strip_prefix(',').unwrap_or(after);
        let (key, values) = match (term.split_once('='), term.split_once(" in (")) {
            (Some((key, value)), None) if !key.ends_with('!') => (key, vec![value.to_owned()]),
            (None, Some((key, values))) => {
                (key, values.strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect())
            }
            _ => return None,
        };
        terms.push((key.to_owned(), values));
    }
    Some(terms)
}

fn forbidden(who: &str, asked: &Asked) -> Reply {
    let (verb, resource, plural, group) = (asked.verb, asked.resource(), &asked.plural, &asked.group);
    let name = if asked.name.is_empty() { String::new() } else { format!(" \"{}\"", asked.name) };
    let place = match asked.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!(
        "{resource}{name} is forbidden: User \"{who}\" cannot {verb} resource \"{plural}\" in API group \"{group}\" {place}"
    );
    (403, status(403, &message))
}

fn missing(asked: &Asked) -> Reply {
    let mut answer = status(404, &format!("{} \"{}\" not found", asked.resource(), asked.name));
    answer["details"] = json!({"name": asked.name, "group": asked.group, "kind": asked.plural});
    (404, answer)
}

fn has_status(asked: &Asked) -> bool {
    KINDS.into_iter().any(|(_, _, plural, has_status)| plural == asked.plural && has_status)
}

fn has_generation(asked: &Asked) -> bool {
    asked.is_custom() || asked.group == "apps"
}

/// Who owns which key of a secret's data: whoever last changed it.
fn managed(asked: &Asked, before: &Value, object: &Value) -> Value {
    if asked.plural != "secrets" {
        return Value::Null;
    }
    let keys = object["data"].as_object();
    let changed: BTreeSet<String> = keys
        .into_iter()
        .flatten()
        .filter(|(key, value)| before["data"].get(key.as_str()) != Some(*value))
        .map(|(key, _)| format!("f:{key}"))
        .collect();
    let mut entries = before["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        let Some(owned) = entry["fieldsV1"]["f:data"].as_object_mut() else { continue };
        let there = |key: &str| key.strip_prefix("f:").is_some_and(|key| object["data"].get(key).is_some());
        owned.retain(|key, _| !changed.contains(key) && there(key));
    }
    let mine = entries.iter_mut().find(|entry| entry["manager"] == asked.manager.as_str());
    let mut owned = mine.as_ref().map_or_else(|| json!({}), |entry| entry["fieldsV1"]["f:data"].clone());
    for key in changed {
        owned[key] = json!({});
    }
    let entry = json!({"manager": asked.manager, "operation": "Update", "apiVersion": "v1", "time": now(),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": owned, "f:metadata": {"f:annotations": {}}}});
    match mine {
        // Who changes nothing is not said to have written.
        Some(mine)
            if before["metadata"]["annotations"] != object["metadata"]["annotations"]
                || before["data"] != object["data"] =>
        {
            *mine = entry;
        }
        Some(_) => {}
        None => entries.push(entry),
    }
    for entry in &mut entries {
        if entry["fieldsV1"]["f:data"].as_object().is_some_and(|owned| owned.is_empty()) {
            entry["fieldsV1"].as_object_mut().expect("fields").remove("f:data");
        }
    }
    json!(entries)
}

fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An object as it is given to who asks for this version of it: absent fields are absent, not null.
fn shown(asked: &Asked, object: &Value, metadata_only: bool) -> Value {
    let mut object = object.clone();
    if metadata_only {
        object =
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
    } else {
        object["kind"] = json!(asked.kind());
        object["apiVersion"] = json!(asked.api_version());
    }
    for place in ["", "/metadata"] {
        if let Some(fields) = object.pointer_mut(place).and_then(Value::as_object_mut) {
            fields.retain(|_, value| !value.is_null());
        }
    }
    object
}

/// A merge patch (RFC 7386).
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}
