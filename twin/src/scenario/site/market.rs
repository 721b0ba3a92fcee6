//! What plans may choose from: more flavours of a class, and other ways to pay for one.

use forebay_world::{FlavourId, Topology};

use crate::plan::Market;
use crate::plan::market::Tariff;
use crate::scenario::finding::Findings;
use crate::scenario::names::Names;
use crate::scenario::spec::SiteSpec;

/// The market. It counts only if nothing was found.
pub(super) fn check_market(
    spec: &SiteSpec<'_>,
    topology: &Topology,
    flavours: &Names,
    findings: &mut Findings,
) -> Market {
    let mut market = Market::of(topology);
    for (class, allowed) in spec.class.iter().zip(&mut market.allowed) {
        let class = class.get_ref();
        for name in &class.flavours {
            let Some(found) = flavours.find(name, findings) else { continue };
            let flavour = FlavourId::at(found.min(255));
            if !allowed.contains(&flavour) {
                allowed.push(flavour);
            }
        }
    }
    for (flavour, tariff) in spec.flavour.iter().zip(&mut market.tariffs) {
        let flavour = flavour.get_ref();
        let name = flavour.name.get_ref();
        for (offer, price) in [
            flavour.reserved.as_ref().map(|offer| ("reserved", offer.span(), offer.get_ref().price_per_hour)),
            flavour.spot.as_ref().map(|offer| ("spot", offer.span(), offer.get_ref().price_per_hour)),
        ]
        .into_iter()
        .flatten()
        .map(|(key, span, price)| ((key, span), price))
        {
            findings.require(
                price >= 0.0 && price.is_finite(),
                offer.1,
                || format!("flavour \"{name}\": `{}.price_per_hour` is {price}", offer.0),
                "allowed: 0 and above",
                "it is what one machine costs an hour",
            );
        }
        if let Some(spot) = &flavour.spot {
            let share = spot.get_ref().share_most;
            findings.require(
                (0.0..=1.0).contains(&share),
                spot.span(),
                || format!("flavour \"{name}\": `spot.share_most` is {share}"),
                "allowed: 0 to 1",
                "it is the share of a region's capacity that may be taken away",
            );
        }
        *tariff = Tariff {
            on_demand_per_hour: *flavour.price_per_hour.get_ref(),
            reserved: flavour.reserved.as_ref().map(|reserved| *reserved.get_ref()),
            spot: flavour.spot.as_ref().map(|spot| *spot.get_ref()),
        };
    }
    if findings.0.is_empty() {
        check_places(spec, topology, &market, findings);
    }
    market
}

/// That a session of each class finds room on every flavour that it may run on; on its own that is checked with the hosts.
fn check_places(spec: &SiteSpec<'_>, topology: &Topology, market: &Market, findings: &mut Findings) {
    for ((class, kind), allowed) in spec.class.iter().zip(&topology.classes).zip(&market.allowed) {
        for flavour in allowed.iter().skip(1) {
            let flavour = &topology.flavours[flavour.index()];
            let places = kind.sessions_on(flavour);
            let named = class.get_ref().flavours.iter().find(|name| *name.get_ref() == flavour.name);
            findings.require(
                places >= 1.0,
                named.map_or(class.span(), toml::Spanned::span),
                || format!("a session of class \"{}\" needs more than flavour \"{}\" has", kind.name, flavour.name),
                &format!("it has room for {places:.3} of a session"),
                "leave this flavour out, or make it larger",
            );
        }
    }
}
