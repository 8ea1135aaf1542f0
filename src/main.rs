//! The `dr-exporter` program.

fn main() {}
