//! Many checks: what each costs, and whether it is run on time.

use std::time::{Duration, Instant};

use crate::figures;
use crate::servers;
use crate::table::Table;
use crate::targets;

const INTERVAL: Duration = Duration::from_secs(30);

const NOTE: &str =
    "Checks of the kind `http`, each on a new connection, every 30 s, without scrapes, measured once over 90 s after
every check has run. Without a peer. The time between two runs of a check is at most the interval, and up to a
tenth shorter at random; a share above 1 is a run that came late. Memory per check is what it adds to that of
an exporter with one check.";

pub fn measure(table: &mut Table, _rounds: usize) {
    table.section("Many checks", NOTE);
    let mut alone = None;
    for count in [1, 1_000, 3_000, 10_000] {
        let (address, asked) = targets::watching();
        let server = servers::exporter(&servers::contracts(count, "30s", &format!("http://{address}"), ""));
        server.until_ok("/-/ready", Duration::from_secs(120));
        let (begun, cpu) = (Instant::now(), figures::cpu(server.id()));
        std::thread::sleep(3 * INTERVAL);
        let cpu = figures::cpu(server.id()).saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let resident = figures::resident(server.id());
        let alone = *alone.get_or_insert(resident);
        if count == 1 {
            continue;
        }
        let checks = count as f64;
        let shares = targets::between(&asked, INTERVAL);
        table.single(&format!("{count} checks: CPU"), "% of a core", vec![cpu * 100.0]);
        table.single(&format!("{count} checks: CPU per check"), "ms per run", vec![cpu * 30.0 * 1e3 / checks]);
        table.single(&format!("{count} checks: memory per check"), "kB", vec![(resident - alone) * 1e3 / checks]);
        let late = figures::quantile(&shares, 0.99);
        table.single(&format!("{count} checks: time between runs, 99th percentile"), "intervals", vec![late]);
    }
}
