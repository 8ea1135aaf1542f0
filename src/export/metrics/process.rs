//! `process_*`: the metrics that every Prometheus client exports about its own process. Linux only.

use super::{Description, Kind};

/// The current figures. Those that cannot be read are left out.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus stores")]
pub(super) fn figures() -> Vec<(Description, f64)> {
    let Ok(process) = procfs::process::Process::myself() else { return Vec::new() };
    let mut figures = Vec::new();
    let mut figure = |name, help, kind, value| figures.push((Description { name, help, labels: "", kind }, value));
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = (stat.utime + stat.stime) as f64 / ticks;
        figure("process_cpu_seconds", "CPU time used, user and system", Kind::Counter, cpu);
        let resident = stat.rss.saturating_mul(procfs::page_size()) as f64;
        figure("process_resident_memory_bytes", "Resident memory", Kind::Gauge, resident);
        figure("process_virtual_memory_bytes", "Virtual memory", Kind::Gauge, stat.vsize as f64);
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            figure("process_start_time_seconds", "When the process started", Kind::Gauge, started);
        }
    }
    if let Ok(open) = process.fd_count() {
        figure("process_open_fds", "Open file descriptors", Kind::Gauge, open as f64);
    }
    if let Ok(limits) = process.limits()
        && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        figure("process_max_fds", "The highest number of file descriptors that may be open", Kind::Gauge, most as f64);
    }
    figures
}

/// No figures: they are read from `/proc`.
#[cfg(not(target_os = "linux"))]
pub(super) fn figures() -> Vec<(Description, f64)> {
    Vec::new()
}
