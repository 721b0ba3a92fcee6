//! What links and slices carry: the difference of the last two looks at their counters.

use forebay_world::{BitsPerSecond, LinkUse, SliceId, SliceUse, Timestamp};

use super::board::Board;
use crate::production::Production;

/// Use of links (dense; `None` where it was not measured) and of the slices that stand on them, by ascending id, as far as
/// they were looked at since `since`.
pub fn network_use(production: &Production, board: &Board, since: Timestamp) -> (Vec<Option<LinkUse>>, Vec<SliceUse>) {
    let topology = &production.topology;
    let mut links = vec![None; topology.links.len()];
    let mut slices = Vec::new();
    for (region, look) in board.links().iter().enumerate() {
        let Some((at, seen)) = look.fresh(since) else { continue };
        let before = look.before.as_ref();
        let rate = |id: SliceId| -> Option<BitsPerSecond> {
            let (before_at, before) = before?;
            let seconds = at.since(*before_at).as_secs_f64();
            let sent = seen.counters.get(&id)?.bytes.checked_sub(before.counters.get(&id)?.bytes)?;
            (seconds > 0.0).then(|| BitsPerSecond::from_f64(sent as f64 * 8.0 / seconds))
        };
        let mut all = Some(BitsPerSecond::ZERO);
        for (id, stands) in &seen.slices {
            let used = rate(*id);
            // A link of which one slice was not measured was not measured.
            all = all.zip(used).map(|(all, used)| BitsPerSecond(all.0.saturating_add(used.0)));
            let used = used.unwrap_or(BitsPerSecond::ZERO);
            slices.push(SliceUse { slice: *id, stands: *stands, used, offered: used });
        }
        let access = topology.regions[region].access;
        if let (Some(used), false) = (all, seen.slices.is_empty()) {
            let capacity = topology.links[access.index()].capacity;
            links[access.index()] = Some(LinkUse { link: access, capacity, used });
        }
    }
    slices.sort_by_key(|slice| slice.slice);
    (links, slices)
}
