//! The mix, machine by machine: for instances that branch and bound found nothing for.

use forebay_world::{ClassId, Room};

use super::{
    Ask, Kind, Machines, Method, Mix, by_weight, capacity, measured, program, spot_within, unit_price, within,
};

/// Takes machines one by one for the claims by weight, each the cheapest for each session that it serves of what is left,
/// as long as there is room.
pub(super) fn solve(ask: &Ask<'_>) -> Mix {
    let mut machines = Machines::new();
    let mut asked = vec![0.0; ask.offers.len()];
    for at in by_weight(ask.claims) {
        let class = ask.claims[at].class;
        asked[class.index()] += ask.claims[at].sessions;
        fill(ask, class, asked[class.index()], &mut machines);
    }
    let mut mix = measured(ask, Method::Greedy, machines);
    let cost = program::objective(ask, &mix);
    mix.gap = program::relaxed(ask).map(|bound| ((cost - bound) / bound.abs().max(1e-9)).max(0.0));
    mix
}

fn fill(ask: &Ask<'_>, class: ClassId, sessions: f64, machines: &mut Machines) {
    loop {
        let left = sessions - capacity(ask.offers, machines, class);
        if left <= 1e-9 * sessions {
            return;
        }
        let mut best: Option<(f64, Machines)> = None;
        for offer in &ask.offers[class.index()] {
            for kind in [Kind::Reserved, Kind::Spot, Kind::OnDemand] {
                // Many of a kind at once while much is left, as long as they fit.
                let most = ((left / offer.sessions_per_vm) as u32).max(1);
                let mut more = 1 << most.ilog2();
                while more > 0 {
                    let mut with = machines.clone();
                    *with.entry((class, offer.flavour, kind)).or_insert(0) += more;
                    if offered(ask, offer.flavour, kind) && within(ask, &with) && spot_within(ask, &with) {
                        let served = (f64::from(more) * offer.sessions_per_vm).min(left);
                        let price = f64::from(more) * unit_price(ask.market, offer.flavour, kind) / served;
                        if best.as_ref().is_none_or(|(least, _)| price < *least) {
                            best = Some((price, with));
                        }
                        break;
                    }
                    more /= 2;
                }
            }
        }
        match best {
            Some((_, with)) => *machines = with,
            None => return,
        }
    }
}

fn offered(ask: &Ask<'_>, flavour: forebay_world::FlavourId, kind: Kind) -> bool {
    let tariff = ask.market.tariff(flavour);
    match kind {
        Kind::Reserved => tariff.reserved.is_some(),
        Kind::OnDemand => ask.sizes[flavour.index()] != Room::default(),
        Kind::Spot => tariff.spot.is_some(),
    }
}
