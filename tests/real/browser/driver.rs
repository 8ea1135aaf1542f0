//! A real headless Chromium, over WebDriver.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dr_testkit::process::Process;
use dr_testkit::{let_pass, skip, tool, wait_until};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take on a busy machine.
pub const SOON: Duration = dr_testkit::PATIENCE;

/// A command of Chromium's own that WebDriver passes on.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// A browser with one page.
#[derive(Clone)]
pub struct Browser {
    pub client: Client,
}

/// Runs a test in a browser. Nothing happens where there is no
/// Chromium, except in CI, where there has to be one.
pub async fn browse<F: Future<Output = ()>>(script: bool, test: impl FnOnce(Browser) -> F) {
    let Some(driver) = tool("CHROMEDRIVER", "chromedriver") else {
        return skip("there is no chromedriver: `scripts/tools chromium` installs it");
    };
    let profile = tempfile::tempdir().expect("a directory for the profile");
    // Killed before its profile is removed. The browser ends with it, so also if the test panics.
    let (_process, url) = start(&driver).await;
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities(profile.path(), script))
        .connect(&url)
        .await
        .expect("a browser");
    let browser = Browser { client: client.clone() };
    // The browser begins with a page of its own.
    browser.open("about:blank").await;
    browser.requests().await;
    test(browser).await;
    client.close().await.expect("the browser is closed");
}

async fn start(driver: &Path) -> (Process, String) {
    let mut process = Process::start(driver, |command| {
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    });
    let stdout = process.child().stdout.take().expect("stdout is piped");
    let port = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port =
            lines.find_map(|line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()));
        // What it says later is read as well, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        port
    });
    let port = port.await.expect("the thread ends").expect("chromedriver tells its port");
    (process, format!("http://127.0.0.1:{port}"))
}

fn capabilities(profile: &Path, script: bool) -> serde_json::Map<String, Value> {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        // Through a pipe, so that the browser ends with its driver, however that ends.
        "--remote-debugging-pipe",
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let scripts = if script { 1 } else { 2 };
    let options = json!({
        "args": arguments,
        "prefs": { "profile.managed_default_content_settings.javascript": scripts },
    });
    let wanted = json!({
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "timeouts": { "script": SOON.as_millis(), "pageLoad": SOON.as_millis() },
    });
    wanted.as_object().cloned().expect("an object")
}

/// Waits until a text has all of these parts, and shows the text if it never does.
async fn contains(parts: &[&str], text: impl AsyncFn() -> String) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let text = text().await;
        let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
        if missing.is_empty() {
            return text;
        }
        assert!(Instant::now() < deadline, "{missing:?} is not on the page:\n{text}");
        let_pass(Duration::from_millis(50)).await;
    }
}

impl Browser {
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// The value of a script.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub async fn text(&self, script: &str) -> String {
        self.run(script).await.as_str().unwrap_or_default().to_owned()
    }

    /// All that a person reads on the page.
    pub async fn words(&self) -> String {
        self.text("return document.body.innerText").await
    }

    /// Waits until a person reads all of this. The page loads itself anew, and a machine that is busy
    /// may look late: until then, "unproven" is right.
    pub async fn words_with(&self, parts: &[&str]) -> String {
        contains(parts, async || self.words().await).await
    }

    /// Waits until all of this stands in the source of the page.
    pub async fn source_with(&self, parts: &[&str]) -> String {
        // While the page loads, it may have no source.
        contains(parts, async || self.client.source().await.unwrap_or_default()).await
    }

    /// Waits until a script gives true.
    pub async fn until(&self, what: &str, script: &str) {
        wait_until(what, SOON, async || (self.run(script).await == Value::Bool(true)).then_some(())).await;
    }

    async fn own(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Own { path, body }).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.own("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// What the console of the page showed since the last call.
    pub async fn console(&self) -> Vec<String> {
        let log = self.own("se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| format!("{} {}", line["level"], line["message"])).collect()
    }

    /// The addresses that were asked for since the last call.
    pub async fn requests(&self) -> Vec<String> {
        let log = self.own("se/log", json!({ "type": "performance" })).await;
        let events = log.as_array().cloned().unwrap_or_default();
        let events = events.iter().filter_map(|event| {
            let event: Value = serde_json::from_str(event["message"].as_str()?).ok()?;
            let event = &event["message"];
            (event["method"] == "Network.requestWillBeSent")
                .then(|| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned())
        });
        events.collect()
    }

    /// A window of this size, in the light or in the dark.
    pub async fn looks(&self, width: u32, height: u32, dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Writes a picture of the upper part of the page.
    pub async fn picture(&self, file: &Path, width: u32, height: u32) {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let parameters = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let answer = self.devtools("Page.captureScreenshot", parameters).await;
        let data = answer["data"].as_str().expect("a picture");
        let picture = data_encoding::BASE64.decode(data.as_bytes()).expect("base64");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder");
        std::fs::write(file, picture).expect("the picture is written");
    }

    /// The serious faults that axe-core finds.
    pub async fn faults(&self) -> Vec<String> {
        let Some(axe) = tool("AXE", "axe.min.js") else {
            skip("there is no axe-core: `scripts/tools axe` fetches it");
            return Vec::new();
        };
        let axe = std::fs::read_to_string(axe).expect("axe-core");
        self.run(&format!("{axe}; return true")).await;
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(done, (error) => done(String(error)));";
        let found = self.client.execute_async(run, Vec::new()).await.expect("axe-core runs");
        let violations = found["violations"].as_array().unwrap_or_else(|| panic!("axe-core: {found}"));
        let serious = violations.iter().filter(|one| matches!(one["impact"].as_str(), Some("serious" | "critical")));
        serious.map(|one| format!("{}: {} {}", one["id"], one["help"], one["nodes"])).collect()
    }

    /// Fails if the page asked for something elsewhere, or its console complains.
    pub async fn is_quiet(&self, exporter: &str) {
        let console = self.console().await;
        assert_eq!(console, [""; 0], "the console is empty: no error, and nothing that the policy forbids");
        let requests = self.requests().await;
        assert!(!requests.is_empty(), "the page itself was asked for");
        let elsewhere: Vec<_> =
            requests.iter().filter(|url| !url.starts_with(exporter) && !url.starts_with("data:")).collect();
        assert_eq!(elsewhere, [""; 0], "no request goes elsewhere");
    }
}
