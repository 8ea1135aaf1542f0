//! Checks of several kinds at once: what each costs, and that ten times as many cost ten times as much.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dr_testkit::dns::Dns;

use crate::figures;
use crate::servers;
use crate::small;
use crate::table::Table;
use crate::targets;

const INTERVAL: Duration = Duration::from_secs(30);
/// More per check than with the fewest checks is no longer linear.
const LINEAR: f64 = 1.15;

const NOTE: &str =
    "A third each of the kinds `http` on a new connection, `dns` at one resolver and `promql`, every 30 s, without
scrapes, measured once over 90 s after every check has run. Without a peer: the right column is that of the fewest
checks, and a ratio of 1 is linear. The time between two runs of a check, which the endpoints of the kind `http`
told, is at most the interval; a share above 1 is a run that came late. Memory per check is what it adds to that of
an exporter with three checks.";

fn yaml(count: usize, http: SocketAddr, dns: &Dns, prometheus: SocketAddr) -> String {
    let mut yaml = format!(
        "defaults: {{ interval: 30s, timeout: 5s, interval_when_down: 30s }}
prometheus: {{ main: {{ url: \"http://{prometheus}\" }} }}
contracts:
"
    );
    for number in 0..count {
        let check = match number % 3 {
            0 => format!("http: {{ url: \"http://{http}/{number}\" }}"),
            1 => format!(
                "dns: {{ name: api.example.com, resolvers: [\"{}\"], regions: {{ primary: [192.0.2.0/24] }} }}",
                dns.udp()
            ),
            _ => "promql: { prometheus: main, query: min(up), healthy_when: { above: 0 } }".to_owned(),
        };
        let _ = write!(
            yaml,
            "  - name: contract-{number}\n    component: API\n    owner: ops\n    priority: P0\n    rto: 24h\n    \
             checks:\n      - name: health\n        {check}\n"
        );
    }
    yaml
}

pub fn measure(table: &mut Table, _rounds: usize) {
    table.section("Mixed checks", NOTE);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dns = runtime.block_on(Dns::start("api A 192.0.2.10 60"));
    let prometheus = targets::prometheus();
    let mut alone = None;
    let mut fewest: Option<[f64; 2]> = None;
    for count in [3, small(1_000), small(3_000), small(10_000)] {
        let (http, asked) = targets::watching();
        let server = servers::exporter(&yaml(count, http, &dns, prometheus));
        server.until_ok("/-/ready", Duration::from_secs(120));
        let (begun, cpu) = (Instant::now(), figures::cpu(server.id()));
        std::thread::sleep(3 * INTERVAL);
        let cpu = figures::cpu(server.id()).saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let resident = figures::resident(server.id());
        assert_eq!(server.healthy(), count, "all checks are healthy");
        let Some(alone) = alone else {
            alone = Some(resident);
            continue;
        };
        let checks = count as f64;
        let each = [cpu * INTERVAL.as_secs_f64() * 1e3 / checks, (resident - alone) * 1e3 / checks];
        let first = *fewest.get_or_insert(each);
        table.single(&format!("{count} mixed checks: CPU"), "% of a core", vec![cpu * 100.0]);
        for (what, unit, each, first) in
            [("CPU per check", "ms per run", each[0], first[0]), ("memory per check", "kB", each[1], first[1])]
        {
            table.pair(&format!("{count} mixed checks: {what}"), unit, vec![each], vec![first], Some(LINEAR));
        }
        let late = figures::quantile(&targets::between(&asked, INTERVAL), 0.99);
        let what = format!("{count} mixed checks: time between runs, 99th percentile");
        table.single(&what, "intervals", vec![late]);
    }
}
