//! The library itself, without a server: what it reads, what it decides, and what it shows.
//!
//! `UPDATE=1 cargo test --test library` writes the golden files, the generated
//! tables and the schema anew; read the difference.
#![allow(clippy::too_many_lines, reason = "tables are long")]

mod config;
mod engine;
mod export;
mod failover;
mod held_up;
mod kgents;
mod layers;
mod many;
mod people;
mod reference;
mod release;
mod scrapes;
mod shards;
