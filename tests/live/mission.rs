//! The whole mission on one edge: foretold by simulations, and then seen to come about.

use std::time::{Duration, Instant, SystemTime};

use forebay_world::Timestamp;

use super::chronicle::{Chronicle, Moment};
use super::crowd::Crowd;
use super::edge::{self, Edge, Event};
use super::foretelling::{Foretelling, quantile, scenario};
use super::hypervisor::Kind;

/// When the crowd comes, and how long it stays.
const CROWD_BEGINS: Duration = Duration::from_secs(75);
const CROWD_STAYS: Duration = Duration::from_secs(60);
/// Requests a second before and after it, and with it.
const RATES: [f64; 2] = [5.0, 30.0];
/// Guests that are started before, to know how long one takes.
const BOOTS: usize = 3;
/// Runs of the simulation.
const SEEDS: u32 = 100;
/// Time for those.
const FORETELLING: Duration = Duration::from_secs(15);
/// Time that orders take beside the guest's own: it is made, given its port and let run, each at a beat of a second.
const ORDERS: Duration = Duration::from_secs(2);
/// Time from a guest's first page to its being ready: two rounds of health checks, a warm-up and the beats between.
const CHECKS: Duration = Duration::from_secs(3);

/// Runs it with guests of a kind.
pub(crate) fn comes_about_as_foretold(kind: Kind) {
    if !edge::have_all_of(kind) {
        return;
    }
    let mut edge = Edge::with(kind, BOOTS);
    let mut boots = edge.boots().to_vec();
    boots.sort();
    println!("   guests alone took {boots:.1?}");
    let start = Instant::now() + FORETELLING;
    let epoch = (SystemTime::now() + FORETELLING).duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let at = |span: Duration| Timestamp::from_nanos((epoch + span).as_nanos() as u64);
    let (crowd_begins, crowd_ends) = (CROWD_BEGINS, CROWD_BEGINS + CROWD_STAYS);

    // What was measured stands in the file, for the controller as for the simulation.
    let boot = format!("boot_median = \"{} ms\"", (boots[BOOTS / 2] + ORDERS).as_millis());
    let warm_up = format!("warm_up = \"{} ms\"", CHECKS.as_millis());
    let changes = [("boot_median = \"15 s\"", &*boot), ("warm_up = \"2 s\"", &*warm_up)];
    let production = edge.announced(at(crowd_begins), at(crowd_ends), &changes);
    let load = include_str!("edge-load.toml")
        .replace("@START@", &at(Duration::ZERO).to_string())
        .replace("@BEGINS@", &at(crowd_begins).to_string())
        .replace("@STAYS@", &CROWD_STAYS.as_secs().to_string());
    let foretold = Foretelling::of(&scenario(&production, &load), SEEDS, &edge.path("foretold"));
    println!("   foretold {:.1?} before", start.saturating_duration_since(Instant::now()));
    std::thread::sleep(start.saturating_duration_since(Instant::now()));

    let begun = Instant::now();
    let rates = vec![(crowd_begins, RATES[0]), (crowd_ends, RATES[1]), (Duration::from_secs(3_600), RATES[0])];
    let crowd = Crowd::start(edge.crowd_socket(), edge.dns(), start, rates);
    edge.start_forebay(&production);

    let mut events: Vec<(Duration, Event)> = Vec::new();
    let mut most = 0;
    let mut chronicle = None;
    while begun.elapsed() < crowd_ends + Duration::from_secs(300) {
        edge.assert_alive();
        for event in edge.look() {
            println!("   {:6.1} s  {event:?}", start.elapsed().as_secs_f64());
            events.push((start.elapsed(), event));
        }
        most = most.max(edge.serving());
        if chronicle.is_some() && edge.is_empty() {
            break;
        }
        // When the crowd's guest has gone home and that is in the journal, the operator takes the rest out of service.
        if chronicle.is_none() && events.iter().any(|(_, event)| matches!(event, Event::MachineGone(_))) {
            let told = Chronicle::read(&edge.path("state/journal-1.jsonl"));
            if told.moments.contains_key(&Moment::OneIsGone) {
                chronicle = Some(told);
                println!("   {:6.1} s  out of service", start.elapsed().as_secs_f64());
                take_out_of_service(&mut edge);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let sent = crowd.stop();
    let mut chronicle = chronicle.unwrap_or_else(|| panic!("the crowd's guest has not gone: {events:?}"));
    println!("   {sent} queries sent; most that served at the same time: {most}");
    let first = |wanted: fn(&Event) -> bool| events.iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at);
    let second_guest = events.iter().filter(|(_, event)| matches!(event, Event::Serves(_))).nth(1).map(|(at, _)| *at);
    let slice = first(|event| matches!(event, Event::Slice)).expect("a slice stands");
    let machine = first(|event| matches!(event, Event::Machine(_))).expect("a guest is made");
    let port = first(|event| matches!(event, Event::Port(_))).expect("a port has rules");
    let serves = first(|event| matches!(event, Event::Serves(_))).expect("a guest serves");
    let answered = first(|event| matches!(event, Event::Answered(_))).expect("a guest is answered");
    assert!(slice <= machine && machine <= port && port <= serves && serves <= answered, "{events:?}");
    assert!(most >= 2, "the crowd needs two");
    assert!(second_guest.expect("two guests served") < crowd_begins, "it stood too late: {events:?}");
    assert!(edge.slice_carried() > 1000, "what guests serve goes through their slice");
    assert!(edge.is_empty(), "something of ours is left: {}", edge.left());
    edge.stop_forebay();
    assert!(edge.is_empty(), "something of ours is left: {}", edge.left());
    edge.assert_journal_replays();
    // Nobody counts clients on guests: they are sent where the zone says.
    chronicle.note(Moment::ClientsAreSent, at(answered));
    compare(&foretold, &chronicle, at(Duration::ZERO));
}

/// The operator wants no machine any more.
pub(crate) fn take_out_of_service(edge: &mut Edge) {
    edge.stop_forebay();
    edge.write_file(&[
        ("policy = \"predictive\"", "policy = \"fixed\""),
        ("demand = \"dns\"", "demand = \"sessions\""),
        ("warm = [\"/health\"]", "warm = [\"/health\"]\nsessions = { path = \"/sessions\" }"),
        ("[controller.policy.predictive]", "[controller.policy.fixed]\nvms = 0\n\n[controller.policy.predictive]"),
    ]);
    edge.restart_forebay();
}

/// What came about against what was foretold: how many machines, in what order, and how long each took.
fn compare(foretold: &Foretelling, chronicle: &Chronicle, start: Timestamp) {
    println!("   | what | foretold, 5 to 95 % [s] | came about [s] |");
    for (moment, at) in &chronicle.moments {
        let times = foretold.times(*moment, start);
        let came = at.as_secs_f64() - start.as_secs_f64();
        if times.is_empty() {
            println!("   | {moment:?} | never | {came:.1} |");
        } else {
            println!("   | {moment:?} | {:.1} to {:.1} | {came:.1} |", quantile(&times, 0.05), quantile(&times, 0.95));
        }
    }
    let to_ready = foretold.to_ready();
    let seconds = |share| quantile(&to_ready, share).as_secs_f64();
    println!(
        "   | from asked to ready | {:.1} to {:.1}, all: {:.1} to {:.1} | {} |",
        seconds(0.05),
        seconds(0.95),
        seconds(0.0),
        seconds(1.0),
        chronicle.to_ready.values().map(|span| format!("{:.1}", span.as_secs_f64())).collect::<Vec<_>>().join(", "),
    );
    let machines = foretold.machines();
    println!("   machines in so many runs: {machines:?}; came about: {}", chronicle.to_ready.len());
    assert!(machines.contains_key(&chronicle.to_ready.len()));

    let order = foretold.order();
    let came = chronicle.order();
    println!("   in this order: {came:?}; {} pairs always in the same", order.len());
    // What there is to foretell: capacity before the crowd, and until it has gone.
    let certain = [
        (Moment::SliceStands, Moment::OneIsMade),
        (Moment::OneIsMade, Moment::OneIsReady),
        (Moment::OneIsReady, Moment::ClientsAreSent),
        (Moment::SecondIsMade, Moment::SecondIsReady),
        (Moment::SecondIsReady, Moment::CrowdComes),
        (Moment::CrowdGoes, Moment::OneDrains),
        (Moment::OneDrains, Moment::OneIsGone),
    ];
    for pair in certain {
        assert!(order.contains(&pair), "{pair:?} is not foretold");
    }
    let place = |moment: Moment| came.iter().position(|other| *other == moment);
    for (before, after) in order {
        let (Some(first), Some(second)) = (place(before), place(after)) else {
            panic!("{before:?} and {after:?} were foretold, and did not both come about");
        };
        assert!(first < second, "{before:?} was foretold before {after:?}");
    }
    let (least, most) = (to_ready[0], to_ready[to_ready.len() - 1]);
    for (vm, span) in &chronicle.to_ready {
        assert!(least <= *span && *span <= most, "{vm} was ready after {span}, foretold {least} to {most}");
    }
}
