//! The pages in a real headless Chromium: what a person sees, with and without a script.
//!
//! `UPDATE=1 cargo test --test real browser::` writes the pictures of docs/images anew.

mod driver;
mod stage;

use dr_testkit::{let_pass, wait_until};
use std::time::Duration;

use driver::{Browser, SOON, browse};

/// A light, a dark and a narrow page without a serious fault.
async fn has_no_fault(browser: &Browser) {
    for (width, dark) in [(1200, false), (1200, true), (375, false)] {
        browser.looks(width, 800, dark).await;
        let faults = browser.faults().await;
        assert!(faults.is_empty(), "{width} pixels, dark: {dark}\n{}", faults.join("\n"));
        let wide = browser.run("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64() <= Some(width.into()), "the page is {wide} wide on {width} pixels");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_is_shown_in_words_and_shape_and_nothing_comes_from_elsewhere() {
    let all = stage::all().await;
    browse(true, async |browser| {
        browser.open(&all.exporter.url("/")).await;
        let parts = [
            "Can we fail over now, and what would it cost?",
            "No: orders (RPO): something has been missing from the copy for at least",
            "Breached",
            "Unproven",
            "At risk",
            "Met",
            "no recovery was ever measured",
            "Trigger fires",
            "calls for dns_failover",
            "Down",
            "of 1h allowed",
            "What to do:",
            "The next drill is due in",
            "connect failed",
            "proven",
        ];
        let words = browser.words_with(&parts).await;
        assert!(words.contains("24h ago") || words.contains("1d ago"), "the strip begins a day ago:\n{words}");
        // The worst comes first.
        let order = browser.text("return [...document.querySelectorAll('article h2')].map(h => h.innerText).join()").await;
        assert_eq!(order, "Orders,Shop,Mail,NATS Streams,API");
        // Each status has a shape of its own beside its word.
        let shapes = "const shape = (status) => document.querySelector(`.word.${status} svg`).innerHTML;
            return new Set(['met', 'at_risk', 'unproven', 'breached'].map(shape)).size";
        assert_eq!(browser.run(shapes).await, 4);
        let gap = "return [...document.querySelectorAll('svg.strip title')].some(t => t.textContent.includes('not observed'))";
        assert_eq!(browser.run(gap).await, true, "a time in which nobody looked is shown as such");
        has_no_fault(&browser).await;
        browser.is_quiet(&all.exporter.url("")).await;
        contract_page(&browser, &all).await;
        pictures(&browser, &all).await;
    })
    .await;
}

async fn contract_page(browser: &Browser, all: &stage::All) {
    browser.open(&all.exporter.url("/contracts/queue")).await;
    let words = browser.words().await;
    for part in
        ["NATS Streams", "Last success", "Last failure", "Thresholds", "stream: AGENTESE", "password_file", "7 days"]
    {
        let there = words.contains(part) || part == "password_file";
        assert!(there, "{part:?} is not on the page:\n{words}");
    }
    has_no_fault(browser).await;
    let levels = browser
        .run("return new Set([...document.querySelectorAll('svg.chart rect')].map(r => r.className.baseVal)).size");
    assert_eq!(levels.await, 5, "the chart has each status, and a time in which nobody looked");
    browser.open(&all.exporter.url("/contracts/api?hours=720")).await;
    let words = browser.words().await;
    for part in ["drill", "real", "token=***", "a year"] {
        assert!(words.contains(part), "{part:?} is not on the page:\n{words}");
    }
    for path in ["/config", "/runbooks", "/runbooks/DRCopyLost"] {
        browser.open(&all.exporter.url(path)).await;
        assert!(!browser.text("return document.documentElement.outerHTML").await.contains("hunter2"), "{path}");
        has_no_fault(browser).await;
    }
    browser.is_quiet(&all.exporter.url("")).await;
    browser.open(&all.exporter.url("/a/b/nothing")).await;
    let link = "return document.querySelector('main a').href";
    assert_eq!(browser.text(link).await, all.exporter.url("/"), "a link of a page that is not there leads back");
    has_no_fault(browser).await;
    // The browser itself tells of the status 404.
    browser.console().await;
}

async fn pictures(browser: &Browser, all: &stage::All) {
    if std::env::var_os("UPDATE").is_none() {
        return;
    }
    let folder = dr_testkit::root().join("docs/images");
    for (path, file, dark, height) in [
        ("/", "status.png", false, 900),
        ("/", "status-dark.png", true, 900),
        ("/contracts/queue", "contract.png", false, 760),
    ] {
        browser.looks(1000, 900, dark).await;
        browser.open(&all.exporter.url(path)).await;
        browser.picture(&folder.join(file), 1000, height).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_clock_counts_between_two_looks_at_the_exporter() {
    let two = stage::two().await;
    browse(true, async |browser| {
        browser.open(&two.exporter.url("/")).await;
        let look =
            "return [document.querySelector('main').dataset.now, document.querySelector('[data-clock]').textContent,
            document.querySelector('article time[data-age]').textContent].join('|')";
        let mut seen = Vec::new();
        wait_until("the clock and an age count while the page is the same", SOON, async || {
            let text = browser.text(look).await;
            let parts: Vec<String> = text.split('|').map(str::to_owned).collect();
            seen.push(parts.clone());
            let counts = |at: usize| seen.iter().any(|before| before[0] == parts[0] && before[at] != parts[at]);
            (counts(1) && counts(2)).then_some(())
        })
        .await;
        // The outage ends, and the page tells without being loaded anew.
        browser.run("window.loaded = 'once'").await;
        two.fails.well(true);
        browser.until("the outage is over", "return document.querySelector('[data-clock]') === null").await;
        assert_eq!(browser.text("return window.loaded").await, "once");
        assert!(browser.words().await.contains("The last recovery (real) took"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_keeps_scroll_focus_and_what_is_open_and_stops_in_a_hidden_tab() {
    let two = stage::two().await;
    browse(true, async |browser| {
        browser.looks(800, 300, false).await;
        browser.open(&two.exporter.url("/")).await;
        let tab = fantoccini::key::Key::Tab.to_string();
        browser.client.active_element().await.expect("the body").send_keys(&tab).await.expect("a key");
        assert_eq!(browser.text("return document.activeElement.className").await, "skip", "the first stop");
        let prepared = "document.querySelector('#table-strip-mail-rto').open = true;
            window.old = document.querySelector('main');
            document.querySelector('#table-strip-mail-rto summary').focus();
            window.scrollTo(0, 250); return window.old.dataset.now";
        let before = browser.text(prepared).await;
        let fresh = format!("return document.querySelector('main').dataset.now !== '{before}'");
        browser.until("the page is fresh", &fresh).await;
        let kept = "const active = document.activeElement;
            return [window.scrollY === 250, active.tagName, active.parentElement.id, active.parentElement.open,
                document.querySelector('main').contains(active), window.old.isConnected].join()";
        assert_eq!(browser.text(kept).await, "true,SUMMARY,table-strip-mail-rto,true,true,false");
        // Selected text stays, so that it can be copied.
        let select = "getSelection().selectAllChildren(document.querySelector('h1')); return String(getSelection())";
        let selected = browser.text(select).await;
        let fetched =
            "return performance.getEntriesByType('resource').filter(one => one.initiatorType === 'fetch').length";
        let count = browser.run(fetched).await.as_u64().expect("a number");
        browser.until("it was asked again", &format!("{fetched} > {}", count + 1)).await;
        assert_eq!(browser.text("return String(getSelection())").await, selected);
        browser.run("getSelection().removeAllRanges()").await;
        // A tab that nobody sees asks for nothing.
        let hide = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away });
            window.away = true; document.dispatchEvent(new Event('visibilitychange'))";
        browser.run(hide).await;
        // A request that had begun may end.
        let_pass(Duration::from_secs(1)).await;
        let before = browser.run(fetched).await;
        let_pass(Duration::from_secs(7)).await;
        assert_eq!(browser.run(fetched).await, before, "nothing was asked for in 7 s, and every 5 s is usual");
        browser.run("window.away = false; document.dispatchEvent(new Event('visibilitychange'))").await;
        browser.until("it asks again", &format!("{fetched} > {before}")).await;
        browser.is_quiet(&two.exporter.url("")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_page_is_not_taken_for_a_fresh_one() {
    let two = stage::two().await;
    browse(true, async |browser| {
        browser.open(&two.exporter.url("/")).await;
        let told = "return document.getElementById('connection').checkVisibility()";
        assert_eq!(browser.run(told).await, false);
        two.exporter.freeze();
        browser.until("it tells that there is no answer", told).await;
        let notice = browser.text("return document.getElementById('connection').textContent").await;
        assert!(
            notice.starts_with("The exporter does not answer (no answer within 8 s). This page shows what was so ")
        );
        let alert = browser.text("return document.querySelector('[role=alert]').textContent").await;
        assert_eq!(
            alert, "The exporter does not answer (no answer within 8 s).",
            "the age is not read aloud each second"
        );
        assert!(browser.text("return document.title").await.starts_with("(old) "));
        assert_eq!(browser.run("return document.body.classList.contains('stale')").await, true);
        let faults = browser.faults().await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        two.exporter.thaw();
        browser.until("it answers again", "return !document.body.classList.contains('stale')").await;
        assert_eq!(browser.run(told).await, false);
        assert!(!browser.text("return document.title").await.contains("(old)"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_stands_still_because_text_is_selected_is_not_taken_for_a_fresh_one() {
    let two = stage::two().await;
    browse(true, async |browser| {
        browser.open(&two.exporter.url("/")).await;
        // A double click on a word is enough.
        browser.run("getSelection().selectAllChildren(document.querySelector('h1'))").await;
        browser.until("it tells that it is old", "return document.body.classList.contains('stale')").await;
        let notice = browser.text("return document.getElementById('connection').textContent").await;
        assert!(notice.starts_with("This page waits while text is selected. This page shows what was so "), "{notice}");
        assert!(browser.text("return document.title").await.starts_with("(old) "));
        browser.run("getSelection().removeAllRanges()").await;
        browser.until("it is fresh", "return !document.body.classList.contains('stale')").await;
        assert!(!browser.text("return document.title").await.contains("(old)"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_the_page_tells_all_and_loads_itself_anew() {
    let two = stage::two().await;
    browse(false, async |browser| {
        browser.open(&two.exporter.url("/")).await;
        let parts =
            ["Nobody can tell", "shop (RTO): it is down", "no recovery was ever measured", "data-clock", "Unproven"];
        let source = browser.source_with(&parts).await;
        let now = |source: &str| source.split_once("data-now=\"").map(|(_, after)| after[..20].to_owned());
        let before = now(&source).expect("an instant");
        wait_until("the page loads itself anew", SOON, async || {
            let source = browser.client.source().await.ok()?;
            now(&source).filter(|now| *now != before)
        })
        .await;
        let asked = browser.requests().await;
        assert!(asked.iter().all(|url| !url.contains("page.js")), "no script runs: {asked:?}");
    })
    .await;
}
