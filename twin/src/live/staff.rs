//! The hands of a production, each with an opener for what it writes to.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use forebay_adapters::machines::MachineExecutor;
use forebay_adapters::slices::SliceExecutor;
use forebay_adapters::steering::responder::{Responder, ResponderExecutor, ResponderOptions};
use forebay_adapters::steering::rfc2136::WriterTerm;
use forebay_adapters::steering::{Guarded, SteeringExecutor};
use forebay_world::RegionId;

use super::GateMaker;
use super::crew::Hands;
use super::hands::{AnswerHands, Hand, LinkHands, MachineHands, Opener, WarmHands};
use crate::production::{NameServer, Production};
use crate::watch::{Board, Clock};

/// Machines that are warmed up at the same time.
const WARM_HANDS: usize = 4;

/// All hands of a production. `responder` is our own name server, where the file has one; `term` says who writes to another.
pub fn hands(
    production: &Arc<Production>,
    board: &Arc<Board>,
    clock: &Clock,
    gates: &GateMaker,
    responder: Option<&Arc<Responder>>,
    term: Option<&WriterTerm>,
) -> Hands {
    let common = || (Arc::clone(production), Arc::clone(board), Arc::clone(clock), Arc::clone(gates));
    let hypervisors = production.hypervisors.iter().enumerate().map(|(index, hosted)| -> Box<dyn Hand> {
        let (hypervisor, owner) = (hosted.hypervisor.clone(), production.owner.clone());
        let opener: Opener<Box<dyn MachineExecutor>> =
            Box::new(move || hypervisor.open(&owner).map_err(|error| error.to_string()));
        let (production, board, clock, gates) = common();
        Box::new(MachineHands::new(index, production, board, clock, gates, opener))
    });
    let links = production.networks.iter().enumerate().map(|(region, network)| -> Option<Box<dyn Hand>> {
        let executor = network.as_ref()?.executor.clone()?;
        let opener: Opener<Box<dyn SliceExecutor>> =
            Box::new(move || executor.open().map_err(|error| error.to_string()));
        let (production, board, clock, gates) = common();
        Some(Box::new(LinkHands::new(RegionId::at(region), production, board, clock, gates, opener)))
    });
    let answers = production.answering.clone().map(|answering| -> Box<dyn Hand> {
        let owner = production.owner.to_string();
        let (own, term) = (responder.cloned(), term.cloned());
        let opener: Opener<Guarded<Box<dyn SteeringExecutor>>> = Box::new(move || {
            let executor: Box<dyn SteeringExecutor> = match &own {
                Some(own) => Box::new(ResponderExecutor::new(own)),
                None => answering
                    .open(&owner, term.clone())
                    .map_err(|error| error.to_string())?
                    .ok_or_else(|| "our own name server has ended".to_owned())?,
            };
            Guarded::new(executor, answering.rails).map_err(|error| error.to_string())
        });
        let (production, board, clock, gates) = common();
        Box::new(AnswerHands::new(production, board, clock, gates, opener))
    });
    let warmth = (0..WARM_HANDS)
        .map(|_| -> Box<dyn Hand> { Box::new(WarmHands::new(Arc::clone(production), Arc::clone(gates))) });
    Hands { hypervisors: hypervisors.collect(), links: links.collect(), answers, warmth: warmth.collect() }
}

/// Starts our own name server, where the file has one.
///
/// # Errors
/// What it could not listen at, or says itself.
pub fn responder(production: &Production) -> Result<Option<Arc<Responder>>, String> {
    let Some(answering) = &production.answering else { return Ok(None) };
    let NameServer::Responder { listen, zone, rate_limit } = &answering.server else { return Ok(None) };
    let at = |address: &SocketAddr, error: std::io::Error| format!("{address}: {error}");
    let udp = listen
        .iter()
        .map(|address| UdpSocket::bind(address).map_err(|error| at(address, error)))
        .collect::<Result<_, _>>()?;
    let tcp = listen
        .iter()
        .map(|address| TcpListener::bind(address).map_err(|error| at(address, error)))
        .collect::<Result<_, _>>()?;
    let regions = match &production.queries {
        None => None,
        Some(queries) => {
            let geography =
                queries.whereabouts.open(&production.topology.regions).map_err(|error| error.to_string())?;
            let names: BTreeMap<RegionId, String> = production
                .topology
                .regions
                .iter()
                .enumerate()
                .map(|(index, region)| (RegionId::at(index), region.name.clone()))
                .collect();
            let all = names.values().cloned().collect();
            let region_of = move |prefix: forebay_adapters::Prefix| {
                let (region, _) = geography.locate(prefix.address(), Some(prefix))?;
                names.get(&region).cloned()
            };
            let region_of: forebay_adapters::steering::responder::RegionOf = Arc::new(region_of);
            Some((region_of, all))
        }
    };
    let options = ResponderOptions {
        zone: (**zone).clone(),
        udp,
        tcp,
        regions,
        state: Some(production.state.join("responder.json")),
        rate_limit: *rate_limit,
    };
    Responder::start(options).map(Arc::new).map(Some).map_err(|error| error.to_string())
}
