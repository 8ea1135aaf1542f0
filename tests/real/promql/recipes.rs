//! Every recipe, against a real Prometheus with the series that it asks for.

use std::fs;
use std::path::Path;

use super::{SOON, fails};
use dr_testkit::exporter::Exporter;
use dr_testkit::prometheus::{Prometheus, Toy, unix};

/// A recipe: its contract, the series of a good copy of which `{}` is the newest time or the lag, what makes it old, and the
/// exposure that the good one has, in seconds.
struct Recipe {
    file: &'static str,
    contract: &'static str,
    series: &'static str,
    good: fn(f64) -> f64,
    old: fn(f64) -> f64,
    exposure: f64,
}

const RECIPES: [Recipe; 12] = [
    Recipe {
        file: "velero",
        contract: "velero",
        series: "velero_backup_last_successful_timestamp{schedule=\"daily\"} {}\n\
                 velero_backup_last_successful_timestamp{schedule=\"weekly\"} 1700000000\n",
        good: |now| now - 3600.0,
        old: |now| now - 26.0 * 3600.0,
        exposure: 5400.0,
    },
    Recipe {
        file: "volsync",
        contract: "volumes",
        series: "volsync_destination_last_sync_timestamp_seconds{obj_namespace=\"app\",obj_name=\"uploads\"} {}\n",
        good: |now| now - 300.0,
        old: |now| now - 4000.0,
        exposure: 900.0,
    },
    Recipe {
        file: "external-secrets",
        contract: "api-secrets",
        series: "external_secret_refresh_timestamp_seconds{obj_namespace=\"saas\",obj_name=\"api-secrets\"} {}\n\
                 external_secret_refresh_timestamp_seconds{obj_namespace=\"saas\",obj_name=\"other\"} 1700000000\n",
        good: |now| now - 1800.0,
        old: |now| now - 8000.0,
        exposure: 1860.0,
    },
    Recipe {
        file: "postgres",
        contract: "orders-db",
        series: "cnpg_pg_replication_lag{namespace=\"orders-dr\",pod=\"orders-1\"} {}\n\
                 cnpg_pg_replication_is_wal_receiver_up{namespace=\"orders-dr\",pod=\"orders-1\"} 1\n\
                 cnpg_pg_replication_in_recovery{namespace=\"orders-dr\",pod=\"orders-1\"} 1\n\
                 cnpg_collector_collections_total{namespace=\"orders-dr\",pod=\"orders-1\"} 9\n",
        good: |_| 2.5,
        old: |_| 301.0,
        exposure: 62.5,
    },
    Recipe {
        file: "s3",
        contract: "documents",
        series: "aws_s3_replication_latency_maximum{source_bucket=\"documents-rg1\",destination_bucket=\"documents-rg2\"} {}\n\
                 aws_s3_operations_failed_replication_sum{source_bucket=\"documents-rg1\",destination_bucket=\"documents-rg2\"} 0\n",
        good: |_| 40.0,
        old: |_| 1500.0,
        exposure: 640.0,
    },
    Recipe {
        file: "cronjob",
        contract: "etcd",
        series: "kube_cronjob_status_last_successful_time{namespace=\"kube-system\",cronjob=\"etcd-snapshot\"} {}\n",
        good: |now| now - 1800.0,
        old: |now| now - 7000.0,
        exposure: 2400.0,
    },
    Recipe {
        file: "restic",
        contract: "files",
        series: "restic_backup_timestamp{client_hostname=\"files-1\",client_username=\"root\",snapshot_hash=\"a\"} {}\n\
                 restic_backup_timestamp{client_hostname=\"files-2\",client_username=\"root\",snapshot_hash=\"b\"} 1700000000\n",
        good: |now| now - 3600.0,
        old: |now| now - 26.0 * 3600.0,
        exposure: 3600.0,
    },
    Recipe {
        file: "borg",
        contract: "mail",
        series: "borg_archive_start_timestamp_seconds{repository=\"files\"} {}\n",
        good: |now| now - 3600.0,
        old: |now| now - 26.0 * 3600.0,
        exposure: 3600.0,
    },
    Recipe {
        file: "pgbackrest",
        contract: "billing-db",
        series: "pgbackrest_backup_since_last_completion_seconds{stanza=\"billing\",backup_type=\"full\"} 500000\n\
                 pgbackrest_backup_since_last_completion_seconds{stanza=\"billing\",backup_type=\"incr\"} {}\n",
        good: |_| 3600.0,
        old: |_| 26.0 * 3600.0,
        exposure: 4200.0,
    },
    Recipe {
        file: "ceph-rbd",
        contract: "vm-disks",
        series: "ceph_rbd_mirror_snapshot_image_local_timestamp{pool=\"vms\",image=\"vm-1\"} {}\n",
        good: |now| now - 300.0,
        old: |now| now - 2000.0,
        exposure: 300.0,
    },
    Recipe {
        file: "mysql",
        contract: "shop-db",
        series: "mysql_heartbeat_stored_timestamp_seconds{server_id=\"1\"} {}\n\
                 mysql_slave_status_seconds_behind_master 0\n",
        good: |now| now - 2.0,
        old: |now| now - 400.0,
        exposure: 2.0,
    },
    Recipe {
        file: "kafka-mirrormaker",
        contract: "orders-events",
        series: "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_max{topic=\"orders\",partition=\"0\"} {}\n\
                 kafka_connect_mirror_mirrorsourceconnector_record_count{topic=\"heartbeats\",partition=\"0\"} 9\n",
        good: |_| 1500.0,
        old: |_| 400_000.0,
        exposure: 1.5,
    },
];

/// A recipe as it is shipped, but for the address and the pace.
fn recipe(name: &str, url: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipes").join(name).with_extension("yaml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let replaced = |text: &str, what: &str, with: &str| {
        assert!(text.contains(what), "{} has no {what}", path.display());
        text.replace(what, with)
    };
    let text = text.replace("{ interval: 30s, timeout: 10s }", "{ interval: 1m, timeout: 10s }");
    let text = replaced(&text, "{ interval: 1m, timeout: 10s }", "{ interval: 300ms, timeout: 5s }");
    replaced(&text, "http://prometheus.monitoring:9090", url)
}

#[test]
fn every_recipe_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipes");
    let files = fs::read_dir(folder).expect("recipes").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    files.sort();
    // tests/kubernetes has that one.
    let mut tested: Vec<_> = RECIPES.iter().map(|recipe| recipe.file).chain(["secret-hash"]).collect();
    tested.sort_unstable();
    assert_eq!(files, tested);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_is_met_then_breached_then_unproven() {
    let tell = |value: fn(&Recipe) -> fn(f64) -> f64| -> String {
        RECIPES.iter().map(|recipe| recipe.series.replace("{}", &value(recipe)(unix()).to_string())).collect()
    };
    let begun = std::time::Instant::now();
    let mut toy = Toy::start(&tell(|recipe| recipe.good)).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("kube_cronjob_status_last_successful_time").await;
    let mut exporters = Vec::new();
    for one in &RECIPES {
        exporters.push(Exporter::start(&recipe(one.file, &prometheus.url())).await);
    }
    for (one, exporter) in RECIPES.iter().zip(&exporters) {
        let scrape = exporter.becomes(one.contract, "rpo", "met", SOON).await;
        let exposure = scrape.observed(one.contract, "rpo").expect("an exposure");
        let most = one.exposure + begun.elapsed().as_secs_f64() + 5.0;
        assert!((one.exposure..most).contains(&exposure), "{}: {exposure} s", one.file);
    }
    toy.tells(&tell(|recipe| recipe.old));
    for (one, exporter) in RECIPES.iter().zip(&exporters) {
        exporter.becomes(one.contract, "rpo", "breached", SOON).await;
    }
    toy.die();
    for (one, exporter) in RECIPES.iter().zip(&exporters) {
        fails(exporter, one.contract, "no_sample").await;
        exporter.becomes(one.contract, "rpo", "unproven", SOON).await;
    }
}

/// What each recipe's guard is for.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_standby_and_a_failed_object_are_not_green() {
    let series = |recipe: &Recipe| recipe.series.replace("{}", &(recipe.good)(unix()).to_string());
    let text: String = RECIPES.iter().map(series).collect();
    let cut = text
        .replace(
            "is_wal_receiver_up{namespace=\"orders-dr\",pod=\"orders-1\"} 1",
            "is_wal_receiver_up{namespace=\"orders-dr\",pod=\"orders-1\"} 0",
        )
        .replace("\"documents-rg2\"} 0\n", "\"documents-rg2\"} 1\n");
    assert_ne!(cut, text);
    let toy = Toy::start(&cut).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("kube_cronjob_status_last_successful_time").await;
    for (file, contract) in [("postgres", "orders-db"), ("s3", "documents")] {
        let exporter = Exporter::start(&recipe(file, &prometheus.url())).await;
        let scrape = fails(&exporter, contract, "no_sample").await;
        assert_eq!(scrape.status(contract, "rpo"), "unproven", "{scrape}");
    }
}
