//! The Roles that a configuration needs in a cluster, as manifests. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Config;
use crate::checks::rights::{Access, Right};
use crate::clients::kubernetes::KubernetesConnection;
use crate::decode::values::{Name, Namespace, ObjectName};

/// Who gets the rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service account in a namespace.
    ServiceAccount {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// A user who comes from outside of the cluster.
    User(String),
}

impl Config {
    /// The connections of the `kubernetes` section.
    #[must_use]
    pub fn clusters(&self) -> Vec<&Name> {
        self.connections.kubernetes.keys().collect()
    }

    /// The manifests of the Roles and their bindings that checks and triggers need in this cluster,
    /// and no more. None if there is no such cluster.
    #[must_use]
    pub fn roles(&self, cluster: &Name, subject: &Subject) -> Option<String> {
        let connection = self.connections.kubernetes.get(cluster)?;
        let checks = self.contracts.iter().flat_map(|contract| &contract.checks).flat_map(|check| check.kind.rights());
        let triggers = self.triggers.iter().flat_map(super::triggers::Trigger::rights);
        let rights: BTreeSet<Right<'_>> =
            checks.chain(triggers).filter(|right| right.cluster.name() == cluster).collect();
        let mut by_namespace: BTreeMap<&Namespace, BTreeMap<Access, Vec<&ObjectName>>> = BTreeMap::new();
        for right in rights {
            by_namespace.entry(right.namespace).or_default().entry(right.access).or_default().extend(right.name);
        }
        let mut text = format!(
            "# The rights of dr-exporter in the cluster `{}`, printed by `dr-exporter config rbac`.\n",
            cluster.as_str()
        );
        if by_namespace.is_empty() {
            text.push_str("# It reads nothing there.\n");
        }
        let holder = connection.impersonate_user.as_ref().map_or(subject.clone(), |user| Subject::User(user.clone()));
        let name = role_name(cluster, subject);
        let mut documents: Vec<String> = by_namespace
            .iter()
            .flat_map(|(namespace, rules)| [role(&name, namespace, rules), binding(&name, namespace, &holder)])
            .collect();
        if !by_namespace.is_empty() {
            documents.extend(impersonation(&name, connection, subject));
        }
        text.push_str(&documents.join("---\n"));
        Some(text)
    }
}

const API: &str = "rbac.authorization.k8s.io";

/// The name of the Roles for a connection and who uses it. Another connection to the same cluster, and another exporter that
/// reads the same namespaces, have other rights: with one name, whatever is applied last would take the rights of the first.
fn role_name(cluster: &Name, subject: &Subject) -> String {
    let cluster = cluster.as_str();
    match subject {
        Subject::ServiceAccount { namespace, name } if namespace == "dr-exporter" && name == "dr-exporter" => {
            format!("dr-exporter.{cluster}")
        }
        Subject::ServiceAccount { namespace, name } => {
            format!("dr-exporter.{cluster}.{}.{}", path_segment(namespace), path_segment(name))
        }
        // No namespace is written like this.
        Subject::User(name) => format!("dr-exporter.{cluster}.User.{}", path_segment(name)),
    }
}

/// A text as a part of a path, which must not have `/` and `%`. Such a character is written as its number: `_2f_`.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '@') {
            segment.push(c);
        } else {
            let _ = write!(segment, "_{:x}_", u32::from(c));
        }
    }
    segment
}

fn role(name: &str, namespace: &Namespace, rules: &BTreeMap<Access, Vec<&ObjectName>>) -> String {
    let (name, namespace) = (plain(name), plain(namespace.as_str()));
    let mut text =
        format!("apiVersion: {API}/v1\nkind: Role\nmetadata:\n  name: {name}\n  namespace: {namespace}\nrules:\n");
    for (access, names) in rules {
        if *access == Access::GetSecret {
            text.push_str(
                "  # RBAC cannot tell metadata from data, so this also allows reading the data. These are the names\n  \
                 # of the ExternalSecrets: if one has another `spec.target.name`, write that name here.\n",
            );
        }
        let (group, resource, verb) = access.rule();
        let group = plain(group);
        let _ = writeln!(text, "  - apiGroups: [{group}]\n    resources: [{resource}]");
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| plain(name.as_str())).collect();
            let _ = writeln!(text, "    resourceNames: [{}]", names.join(", "));
        }
        let _ = writeln!(text, "    verbs: [{verb}]");
    }
    text
}

fn binding(name: &str, namespace: &Namespace, subject: &Subject) -> String {
    let name = plain(name);
    format!(
        "apiVersion: {API}/v1\nkind: RoleBinding\nmetadata:\n  name: {name}\n  namespace: {}\nroleRef: {{ apiGroup: \
         {API}, kind: Role, name: {name} }}\nsubjects:\n  - {}\n",
        plain(namespace.as_str()),
        written(subject)
    )
}

/// The right to act as the user and the groups of the connection.
fn impersonation(name: &str, connection: &KubernetesConnection, subject: &Subject) -> Option<String> {
    let user = connection.impersonate_user.as_ref()?;
    let name = plain(&format!("{name}.impersonation"));
    let mut text = format!(
        "apiVersion: {API}/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:\n  - apiGroups: \
         [\"\"]\n    resources: [users]\n    resourceNames: [{}]\n    verbs: [impersonate]\n",
        plain(user)
    );
    if !connection.impersonate_groups.is_empty() {
        let groups: Vec<_> = connection.impersonate_groups.iter().map(|group| plain(group)).collect();
        let _ = writeln!(
            text,
            "  - apiGroups: [\"\"]\n    resources: [groups]\n    resourceNames: [{}]\n    verbs: [impersonate]",
            groups.join(", ")
        );
    }
    let _ = write!(
        text,
        "---\napiVersion: {API}/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {name}\nroleRef: {{ \
         apiGroup: {API}, kind: ClusterRole, name: {name} }}\nsubjects:\n  - {}\n",
        written(subject)
    );
    Some(text)
}

fn written(subject: &Subject) -> String {
    match subject {
        Subject::ServiceAccount { namespace, name } => {
            format!("{{ kind: ServiceAccount, name: {}, namespace: {} }}", plain(name), plain(namespace))
        }
        Subject::User(name) => format!("{{ kind: User, apiGroup: {API}, name: {} }}", plain(name)),
    }
}

/// A text as YAML: without quotes if every reader of YAML takes it for a text, otherwise as JSON.
fn plain(text: &str) -> String {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_plain = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        && !words.contains(&text);
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = "
kubernetes:
  primary: { kubeconfig_file: kubeconfig, context: primary }
  dr: { in_cluster: true }
  other: { kubeconfig_file: kubeconfig, impersonate_user: 'ops:reader', impersonate_groups: [readers] }
contracts:
  - name: a
    component: A
    owner: ops
    priority: P0
    rto: 1h
    rpo: 1h
    checks:
      - { name: b, external_secret: { primary: primary, dr: dr, namespace: apps, name: b } }
      - { name: a, external_secret: { primary: primary, dr: dr, namespace: apps, name: a } }
      - { name: fresh, external_secret: { dr: other, namespace: 'no', name: '1' } }
      - { name: app, argocd_app: { kubernetes: dr, namespace: argocd, name: app, primary: { kubernetes: primary, name: other } } }
      - { name: web, pods: { kubernetes: dr, namespace: apps, selector: app=web, workload: { kind: Deployment, name: web } } }
triggers:
  - { name: down, action: a, notification: b, pods: { kubernetes: primary, namespace: apps, selector: app=web } }
";

    fn roles(cluster: &str, subject: &Subject) -> Option<String> {
        let config = crate::config::parse(CONFIG, Path::new("config.yaml")).expect("a configuration");
        let cluster = config.clusters().into_iter().find(|name| name.as_str() == cluster)?.clone();
        config.roles(&cluster, subject)
    }

    fn account() -> Subject {
        Subject::ServiceAccount { namespace: "dr-exporter".to_owned(), name: "dr-exporter".to_owned() }
    }

    /// The documents as `kind namespace: group/resource names verb, ...`.
    fn rules(text: &str) -> Vec<String> {
        let documents =
            text.split("---\n").map(|text| serde_saphyr::from_str::<serde_json::Value>(text).expect("YAML"));
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let list =
            |value: &serde_json::Value| value.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join("+");
        let rule = |rule: &serde_json::Value| {
            let part = |key: &str| list(&rule[key]);
            format!("{}/{} {} {}", part("apiGroups"), part("resources"), part("resourceNames"), part("verbs"))
        };
        let shown = documents.map(|object| {
            let rules: Vec<_> = object["rules"].as_array().into_iter().flatten().map(rule).collect();
            let subject = &object["subjects"][0];
            let subject = format!("{} {}", word(&subject["kind"]), word(&subject["name"]));
            let what = if rules.is_empty() { subject } else { rules.join(", ") };
            format!("{} {}: {what}", word(&object["kind"]), word(&object["metadata"]["namespace"]))
        });
        shown.collect()
    }

    #[test]
    fn each_cluster_gets_the_rights_that_are_needed_there() {
        let primary = roles("primary", &account()).expect("a cluster");
        assert_eq!(
            rules(&primary),
            [
                "Role apps: external-secrets.io/externalsecrets a+b get, /secrets a+b get, /pods  list",
                "RoleBinding apps: ServiceAccount dr-exporter",
                "Role argocd: argoproj.io/applications other get",
                "RoleBinding argocd: ServiceAccount dr-exporter",
            ]
        );
        assert_eq!(
            rules(&roles("dr", &Subject::User("ops@example.com".to_owned())).expect("a cluster")),
            [
                "Role apps: external-secrets.io/externalsecrets a+b get, /secrets a+b get, /pods  list, apps/deployments web get",
                "RoleBinding apps: User ops@example.com",
                "Role argocd: argoproj.io/applications app get",
                "RoleBinding argocd: User ops@example.com",
            ]
        );
        assert_eq!(roles("elsewhere", &account()), None);
    }

    #[test]
    fn who_acts_as_another_user_needs_that_right_alone() {
        assert_eq!(
            rules(&roles("other", &account()).expect("a cluster")),
            [
                "Role no: external-secrets.io/externalsecrets 1 get",
                "RoleBinding no: User ops:reader",
                "ClusterRole : /users ops:reader impersonate, /groups readers impersonate",
                "ClusterRoleBinding : ServiceAccount dr-exporter",
            ]
        );
    }
}
