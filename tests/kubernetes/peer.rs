//! Kubeconfigs, and what the exporter and kubectl make of each.

use std::process::{Command, Stdio};

use super::{Pair, contract};
use dr_testkit::exporter::Config;
use dr_testkit::kube::{Flavour, assets, base64};

/// What must never be told.
pub(super) const SECRET: &str = "hunter2-hunter2";

/// A kubeconfig and the files beside it.
pub(super) struct Case {
    pub(super) name: &'static str,
    kubeconfig: String,
    files: Vec<(&'static str, String)>,
    /// Variables of the environment.
    environment: Vec<(&'static str, String)>,
    /// Whether kubectl takes it.
    kubectl: bool,
}

impl Case {
    pub(super) fn new(name: &'static str, kubeconfig: impl Into<String>) -> Self {
        Self { name, kubeconfig: kubeconfig.into(), files: Vec::new(), environment: Vec::new(), kubectl: true }
    }

    pub(super) fn with(mut self, file: &'static str, content: impl Into<String>) -> Self {
        self.files.push((file, content.into()));
        self
    }

    pub(super) fn within(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    /// Where kubectl does otherwise than the exporter.
    pub(super) fn otherwise(self) -> Self {
        Self { kubectl: !self.kubectl, ..self }
    }

    /// What one run of a check makes of it. kubectl must take it or not, as the case says.
    pub(super) fn told(&self, pair: &Pair) -> String {
        let check = format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace);
        let yaml = super::config(&contract("nats", "rto: 30m\n    rpo: 1h", &check));
        let yaml = yaml.replace("context: test, ", "");
        let mut config = Config::new(&yaml)
            .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
            .with("dr.kubeconfig", &self.kubeconfig);
        for (file, content) in &self.files {
            config = config.with(file, content);
        }
        let takes = self.kubectl_takes(pair, &config);
        let mut wrong = String::new();
        if takes.is_some_and(|takes| takes != self.kubectl) {
            wrong = format!("KUBECTL DOES OTHERWISE: {}\n", self.name);
        }
        let mut exporter = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        exporter.arg("check").arg(format!("--config.file={}", config.path("config.yaml").display()));
        exporter.envs(self.environment.iter().cloned());
        let output = exporter.stdin(Stdio::null()).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(!text.contains("panicked") && !text.contains(SECRET), "{}: {text}", self.name);
        wrong + &text
    }

    /// Whether kubectl reads the object by this kubeconfig; none where there is no kubectl.
    fn kubectl_takes(&self, pair: &Pair, config: &Config) -> Option<bool> {
        let kubectl = assets()?.join("kubectl");
        if pair.dr.flavour() == Flavour::Fake || !kubectl.is_file() {
            return None;
        }
        let path = format!("--raw=/apis/external-secrets.io/v1/namespaces/{}/externalsecrets/nats", pair.namespace);
        let kubeconfig = format!("--kubeconfig={}", config.path("dr.kubeconfig").display());
        let mut command = Command::new(kubectl);
        command.args(["get", &path, &kubeconfig, "--request-timeout=5s"]).env("HOME", config.directory());
        command.envs(self.environment.iter().cloned());
        Some(command.stdin(Stdio::null()).output().expect("kubectl runs").status.success())
    }
}

/// A kubeconfig of these fields of its cluster and its user.
pub(super) fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n\
         clusters:\n- name: test\n  cluster:\n{}\nusers:\n- name: test\n  user:\n{}\n",
        indented(cluster),
        indented(user)
    )
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Base64 in lines of 64, as `base64` and openssl write it, for a block of YAML.
pub(super) fn wrapped(data: &str) -> String {
    let data: Vec<char> = base64(data.as_bytes()).chars().collect();
    data.chunks(64).map(|line| format!("\n  {}", line.iter().collect::<String>())).collect()
}
