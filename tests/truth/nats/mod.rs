//! A stream and its mirror, on real servers that fail.
//!
//! This kind has a judge of its own: what the two sides hold is read message by message, and follows from no schedule.

mod judge;
mod observer;
pub mod plan;
mod world;

use self::plan::Plan;
use self::world::World;
use super::judge::Verdict;

/// Plays a plan and judges it. Also the exporter's log.
pub async fn play(plan: &Plan) -> (Verdict, String) {
    let record = World::start(plan).await.play(plan).await;
    (judge::hold(plan, &record), record.log)
}
