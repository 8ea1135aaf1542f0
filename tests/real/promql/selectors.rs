//! That the time of a query's samples is found whatever the query is made of, as the real server reads it.

use super::{contract, ends, exporter, fails, figure};
use dr_testkit::prometheus::{Prometheus, Toy, unix};

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_every_querys_samples_is_found() {
    let old = ((unix() - 100.0) * 1000.0).round();
    let toy = Toy::start(&format!(
        "fresh{{path=\"/a\\\"b\\\\\\\\c\",zone=\"eu\"}} 1\nfresh{{path=\"/ä\",zone=\"us\"}} 1\nold 1 {old}\ncount_total 5\n"
    ))
    .await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("count(fresh)").await;
    prometheus.has("rate(count_total[1m])").await;
    // The query, and the age that its stalest sample has.
    let cases = [
        (r#"sum(fresh{zone=~"e.|u."})"#, 0.0),
        (r#"fresh{path="/a\"b\\\\c"}"#, 0.0),
        (r#"fresh{path="/ä"}"#, 0.0),
        (r#"{__name__="fresh",zone="eu"}"#, 0.0),
        (r#"sum(fresh) + on () old"#, 100.0),
        ("old offset 50s", 50.0),
        ("avg_over_time(old[5m])", 100.0),
        ("max_over_time(old[5m:10s])", 100.0),
        ("sum(count_over_time(fresh[1m]))", 0.0),
        ("sum(rate(count_total[1m])) * 0 + 1", 0.0),
        ("(no_errors_total or vector(0)) + sum(fresh)", 0.0),
        ("sum(fresh) unless on () maintenance", 0.0),
        ("sum(fresh) or on () old", 100.0),
        ("quantile(0.5, fresh)", 0.0),
        ("topk(1, sum(fresh))", 0.0),
        ("scalar(old) * max(fresh)", 100.0),
        ("sum(fresh @ end())", 0.0),
        ("clamp_min(max(label_replace(fresh, 'a', '$1', 'zone', '(.*)')), 0)", 0.0),
    ];
    let mut contracts: Vec<String> = Vec::new();
    for (index, (query, _)) in cases.iter().enumerate() {
        let query = serde_json::Value::from(*query);
        let stanza = format!("query: {query}\nhealthy_when: {{ above: -1 }}\nmax_staleness: 4m");
        contracts.push(contract(&format!("q{index}"), "rto: 1h", &stanza));
    }
    let missing = ["old + on () gone", "sum(fresh) * on () (gone or gone2)", "gone or vector(1)", "absent(gone)"];
    for (index, query) in missing.iter().enumerate() {
        contracts.push(contract(
            &format!("m{index}"),
            "rto: 1h",
            &format!("query: {query}\nhealthy_when: {{ above: 0 }}"),
        ));
    }
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for (index, (query, expected)) in cases.iter().enumerate() {
        let scrape = ends(&exporter, &format!("q{index}"), "healthy").await;
        let age = figure(&scrape, "dr_promql_sample_age_seconds", &format!("q{index}"));
        let age = age.unwrap_or_else(|| panic!("{query} has no age"));
        let most = if *expected == 0.0 { 45.0 } else { expected + 45.0 };
        assert!((*expected..most).contains(&age), "{query}: {age} s");
    }
    for (index, _) in missing.iter().enumerate() {
        fails(&exporter, &format!("m{index}"), "no_sample").await;
    }
}
