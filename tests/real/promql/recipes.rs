//! Every recipe, against a real Prometheus with the series that it asks for.

use std::fs;
use std::path::Path;

use super::{SOON, fails};
use dr_testkit::exporter::Exporter;
use dr_testkit::prometheus::{Prometheus, Toy, unix};
use dr_testkit::scrape::Scrape;

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
        series: "velero_backup_total 12\n\
                 velero_backup_last_successful_timestamp{schedule=\"daily\"} {}\n\
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
                 cnpg_collector_collections_total{namespace=\"orders-dr\",pod=\"orders-1\"} 9\n\
                 cnpg_pg_replication_lag{namespace=\"orders-dr\",pod=\"orders-2\"} 0\n\
                 cnpg_pg_replication_is_wal_receiver_up{namespace=\"orders-dr\",pod=\"orders-2\"} 1\n\
                 cnpg_pg_replication_in_recovery{namespace=\"orders-dr\",pod=\"orders-2\"} 1\n\
                 cnpg_collector_collections_total{namespace=\"orders-dr\",pod=\"orders-2\"} 7\n",
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
        series: "restic_check_success 1\n\
                 restic_backup_timestamp{client_hostname=\"files-1\",client_username=\"root\",snapshot_hash=\"a\"} {}\n\
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
        series: "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_max{topic=\"rg1.orders\",partition=\"0\"} {}\n\
                 kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_max{topic=\"rg1.orders\",partition=\"1\"} NaN\n\
                 kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_max{topic=\"rg1.old-orders\",partition=\"0\"} 900000\n\
                 kafka_connect_mirror_mirrorsourceconnector_record_count{topic=\"rg1.heartbeats\",partition=\"0\"} 9\n\
                 kafka_connect_worker_connector_failed_task_count{connector=\"rg1->rg2.MirrorSourceConnector\"} 0\n",
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
        let warns = scrape.get("dr_check_warning", &[("contract", one.contract)]);
        assert_ne!(warns, Some(1.0), "{}: its renewed_by gives a number: {scrape}", one.file);
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

/// The series of the good copies, of all recipes.
fn good() -> String {
    RECIPES.iter().map(|recipe| recipe.series.replace("{}", &(recipe.good)(unix()).to_string())).collect()
}

/// Waits until a recipe's check fails for this reason anew, and proves nothing.
async fn is_unproven(prometheus: &Prometheus, file: &str, reason: &str) {
    let one = RECIPES.iter().find(|recipe| recipe.file == file).expect("a recipe");
    let exporter = Exporter::start(&recipe(file, &prometheus.url())).await;
    // The first look judges already: a green one shall not hide behind the wait for the reason.
    let scrape = exporter.runs_on(one.contract, 1, SOON).await;
    assert_eq!(scrape.status(one.contract, "rpo"), "unproven", "{file}: {scrape}");
    let scrape = fails(&exporter, one.contract, reason).await;
    assert_eq!(scrape.status(one.contract, "rpo"), "unproven", "{file}: {scrape}");
}

/// What each recipe's guard is for: the series that says that the copy is none, although its age or time looks well.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_failed_or_deleted_is_not_green() {
    let receiver = |pod: &str, up: u8| {
        format!("cnpg_pg_replication_is_wal_receiver_up{{namespace=\"orders-dr\",pod=\"{pod}\"}} {up}\n")
    };
    let failed = "\"documents-rg2\"} 0\n";
    let cases = [
        // A cut link between the regions: only one standby notices, and the other one streams from that.
        ("postgres", "no_sample", receiver("orders-1", 1), receiver("orders-1", 0)),
        ("s3", "no_sample", failed.to_owned(), failed.replace("} 0", "} 1")),
        ("s3", "no_sample", "operations_failed_replication_sum{".to_owned(), "failed_by_another_name{".to_owned()),
        ("velero", "withdrawn", "velero_backup_total 12".to_owned(), "velero_backup_total 0".to_owned()),
        ("restic", "withdrawn", "restic_check_success 1".to_owned(), "restic_check_success 0".to_owned()),
        ("kafka-mirrormaker", "no_sample", "MirrorSourceConnector\"} 0".into(), "MirrorSourceConnector\"} 1".into()),
    ];
    for (file, reason, well, ill) in cases {
        let text = good();
        assert!(text.contains(&well), "{well}");
        let toy = Toy::start(&text.replace(&well, &ill)).await;
        let prometheus = Prometheus::start(&[toy.address]).await;
        prometheus.has("kube_cronjob_status_last_successful_time").await;
        is_unproven(&prometheus, file, reason).await;
    }
}

/// A CloudWatch exporter gives NaN for a minute without a value. That hides no object that failed in another minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_object_is_not_hidden_by_a_minute_without_a_value() {
    let failed = |value: &str| good().replace("\"documents-rg2\"} 0\n", &format!("\"documents-rg2\"}} {value}\n"));
    let toy = Toy::start(&failed("NaN")).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("aws_s3_operations_failed_replication_sum").await;
    toy.tells(&failed("1"));
    prometheus.has("aws_s3_operations_failed_replication_sum == 1").await;
    toy.tells(&failed("NaN"));
    prometheus.has("(aws_s3_operations_failed_replication_sum != 1) * 0 + 1").await;
    is_unproven(&prometheus, "s3", "no_sample").await;
}

/// One Prometheus has the metrics of both regions, or of several clusters: the best of them is not DR's.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_dr_is_not_that_of_the_primary() {
    let (primary, dr) = (Toy::start(&good()).await, Toy::start(&good()).await);
    let prometheus = Prometheus::start(&[primary.address, dr.address]).await;
    prometheus.has("count(kube_cronjob_status_last_successful_time) == 2").await;
    for file in ["velero", "cronjob", "external-secrets", "volsync", "mysql"] {
        is_unproven(&prometheus, file, "many_series").await;
    }
}

/// A lag is renewed by the collector of each standby, and by the heartbeats of its own source; by nobody who goes on beside
/// one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_is_not_renewed_by_a_neighbour() {
    let collections = |pod: &str, count: u32| {
        format!("cnpg_collector_collections_total{{namespace=\"orders-dr\",pod=\"{pod}\"}} {count}\n")
    };
    let heartbeats = |source: &str, count: u32| {
        let metric = "kafka_connect_mirror_mirrorsourceconnector_record_count";
        format!("{metric}{{topic=\"{source}.heartbeats\",partition=\"0\"}} {count}\n")
    };
    let text = good();
    let (collected, beaten) = (collections("orders-2", 7), heartbeats("rg1", 9));
    let tell = |own: u32, other: u32| {
        assert!(text.contains(&collections("orders-1", 9)) && text.contains(&collected) && text.contains(&beaten));
        let told = text.replace(&collections("orders-1", 9), &collections("orders-1", 9 + other));
        let told = told.replace(&collected, &collections("orders-2", 7 + own));
        told.replace(&beaten, &heartbeats("rg1", 9 + own)) + &heartbeats("rg3", other)
    };
    for (file, contract) in [("postgres", "orders-db"), ("kafka-mirrormaker", "orders-events")] {
        let toy = Toy::start(&tell(0, 0)).await;
        let prometheus = Prometheus::start(&[toy.address]).await;
        prometheus.has("kube_cronjob_status_last_successful_time").await;
        let exporter = Exporter::start(&recipe(file, &prometheus.url())).await;
        let point = |scrape: &Scrape| scrape.get("dr_recovery_point_timestamp_seconds", &[("contract", contract)]);
        let first = point(&exporter.becomes(contract, "rpo", "met", SOON).await).expect("a proof");
        // The neighbour goes on for a while.
        let (begun, mut count) = (unix(), 0);
        while unix() - begun < 10.0 {
            count += 1;
            toy.tells(&tell(0, count));
            let scrape = exporter.runs_on(contract, 2, SOON).await;
            // The server's clock is placed on this one's anew at each look, to some milliseconds.
            assert!(point(&scrape).is_some_and(|point| point < first + 1.0), "{file}: {scrape}");
        }
        // So does this one.
        for own in 1.. {
            toy.tells(&tell(own, count));
            let scrape = exporter.runs_on(contract, 2, SOON).await;
            if point(&scrape).is_some_and(|point| point > first + 5.0) {
                break;
            }
            assert!(unix() - begun < SOON.as_secs_f64(), "{file}: nothing renews it: {scrape}");
        }
    }
}
