//! What links and slices carry: the difference of two looks at their counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{BitsPerSecond, Duration, LinkUse, SliceId, SliceUse, Timestamp};

use super::board::Board;
use super::look::LinkSeen;
use crate::production::Production;

/// Use of links (dense; `None` where it was not measured) and of the slices that stand on them, by ascending id, as far as
/// they were looked at since `since`: of the time between the last two looks.
pub fn network_use(production: &Production, board: &Board, since: Timestamp) -> (Vec<Option<LinkUse>>, Vec<SliceUse>) {
    used(production, board, since, |_, at, seen, before| {
        let (before_at, before) = before?;
        Carried::between(before_at, before, at, seen)
    })
}

/// Adds up what slices carry between two moments, from look to look: also where there were many looks between them.
#[derive(Clone, Debug, Default)]
pub struct LinkMeter(Vec<Metered>);

#[derive(Clone, Debug, Default)]
struct Metered {
    /// The look up to which all is counted.
    last: Option<(Timestamp, Arc<LinkSeen>)>,
    /// What was carried since the meter was read last; `None` before two looks.
    carried: Option<Carried>,
}

/// What slices carried in a time.
#[derive(Clone, Debug, Default)]
struct Carried {
    span: Duration,
    bytes: BTreeMap<SliceId, u64>,
}

impl Carried {
    /// `None` where a slice that stands was not counted at both times, or was made anew between them.
    fn between(before_at: Timestamp, before: &LinkSeen, at: Timestamp, seen: &LinkSeen) -> Option<Carried> {
        let of = |id: &SliceId| {
            let (now, then) = (seen.counters.get(id)?, before.counters.get(id)?);
            Some((*id, now.bytes.checked_sub(then.bytes)?))
        };
        let bytes = seen.slices.keys().map(of).collect::<Option<_>>()?;
        let span = at.since(before_at);
        (!span.is_zero()).then_some(Carried { span, bytes })
    }

    fn add(&mut self, more: Carried) {
        self.span += more.span;
        for (id, bytes) in more.bytes {
            let sum = self.bytes.entry(id).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }

    fn rate(&self, id: SliceId) -> Option<BitsPerSecond> {
        let bytes = *self.bytes.get(&id)?;
        Some(BitsPerSecond::from_f64(bytes as f64 * 8.0 / self.span.as_secs_f64()))
    }
}

impl LinkMeter {
    /// Takes in what the board shows; what was shown before counts once.
    pub fn take(&mut self, board: &Board) {
        let looks = board.links();
        self.0.resize_with(looks.len(), Metered::default);
        for (metered, look) in self.0.iter_mut().zip(looks) {
            let Some((at, seen)) = look.seen else { continue };
            if metered.last.as_ref().is_some_and(|(last, _)| *last >= at) {
                continue;
            }
            let more = metered.last.as_ref().and_then(|(last, before)| Carried::between(*last, before, at, &seen));
            match (&mut metered.carried, more) {
                (Some(carried), Some(more)) => carried.add(more),
                (none, more) => *none = more.or(none.take()),
            }
            metered.last = Some((at, seen));
        }
    }

    /// As [`network_use`], of all the time since the meter was read last; it begins anew.
    pub fn read(
        &mut self,
        production: &Production,
        board: &Board,
        since: Timestamp,
    ) -> (Vec<Option<LinkUse>>, Vec<SliceUse>) {
        self.take(board);
        used(production, board, since, |region, _, _, _| self.0.get_mut(region)?.carried.take())
    }
}

fn used(
    production: &Production,
    board: &Board,
    since: Timestamp,
    mut carried: impl FnMut(usize, Timestamp, &LinkSeen, Option<(Timestamp, &LinkSeen)>) -> Option<Carried>,
) -> (Vec<Option<LinkUse>>, Vec<SliceUse>) {
    let topology = &production.topology;
    let mut links = vec![None; topology.links.len()];
    let mut slices = Vec::new();
    for (region, look) in board.links().iter().enumerate() {
        let Some((at, seen)) = look.fresh(since) else { continue };
        let carried = carried(region, at, seen, look.before.as_ref().map(|(at, before)| (*at, &**before)));
        let mut all = Some(BitsPerSecond::ZERO);
        for (id, stands) in &seen.slices {
            let used = carried.as_ref().and_then(|carried| carried.rate(*id));
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
