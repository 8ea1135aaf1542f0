//! When a health was stated.

use super::*;

/// A health that does not change was stated when Argo CD last compared, whenever it is read.
#[test]
fn a_failure_counts_until_argo_cd_last_stated_it() {
    let mut memory = Memory::default();
    let mut stated = |health: &str, compared: &str, read: &str| {
        let changes = json!({"health": {"status": health}, "reconciledAt": format!("2026-09-20T{compared}Z")});
        let mut dr = found(&with(healthy(), &changes));
        if let Ok(Some(seen)) = &mut dr {
            seen.at = t(&format!("2026-09-20T{read}Z"));
        }
        memory.note(&mut dr, None, TEN_MINUTES, t(NOW));
        let stated = verdict(&dr, None, &memory, &rules(), t(NOW)).stated?;
        Some(stated.to_string().get(11..19)?.to_owned())
    };
    let at = |time: &str| Some(time.to_owned());
    assert_eq!(stated("Degraded", "11:52:00", "11:53:00"), at("11:52:00"), "nobody saw it begin");
    assert_eq!(stated("Healthy", "11:52:00", "11:54:00"), None);
    assert_eq!(stated("Degraded", "11:52:00", "11:55:00"), at("11:55:00"), "it changed just now");
    assert_eq!(stated("Degraded", "11:52:00", "11:56:00"), at("11:55:00"), "and is not stated again");
    assert_eq!(stated("Degraded", "11:57:00", "11:58:00"), at("11:57:00"), "but with the next comparison");
    assert_eq!(stated("Missing", "11:57:00", "11:59:00"), at("11:59:00"));
    let gone = verdict(&Ok(None), None, &memory, &rules(), t(NOW));
    assert_eq!((short(&gone).as_str(), gone.stated), ("unhealthy:application_missing lost:application_missing", None));
}
