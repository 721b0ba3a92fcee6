//! Sockets that somebody else holds, and logs that come, are rotated and go.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration as Wait, Instant};

use forebay_adapters::query::LoggedQuery;
use forebay_adapters::{Prefix, Vantage};
use forebay_world::{Duration, Timestamp};

use super::*;
use crate::production::Production;
use crate::watch::Seen;

const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

fn production(folder: &Path, dnstap: &str, log: &str) -> Production {
    let text = format!(
        "[production]\nname = \"test\"\nowner = \"forebay-test\"\nstate = \"state\"\n\
         [[region]]\nname = \"ams\"\nlat = 52.0\nlon = 5.0\ntime_zone = \"UTC\"\n\
         access = {{ capacity = \"10 Gbit/s\", delay = \"5 ms\" }}\n\
         hosts = [{{ count = 1, cpu = \"32 vCPU\", memory = \"64 GiB\", nic = \"20 Gbit/s\", concurrent_boots = 4 }}]\n\
         [[flavour]]\nname = \"edge\"\ncpu = \"2 vCPU\"\nmemory = \"4 GiB\"\nbandwidth = \"2 Gbit/s\"\nprice_per_hour = 0.1\nboot_median = \"50 s\"\n\
         [[class]]\nname = \"video\"\nkind = \"streaming\"\nflavour = \"edge\"\nbit_rate = \"5 Mbit/s\"\nduration = \"1 min\"\ncpu = \"10 mCPU\"\nttl = \"10 s\"\nviolation_price_per_minute = 1.0\n\
         [dns]\n{dnstap}\nvantage = \"authority\"\nzones = [\"cdn.example\"]\n{log}\n[dns.geography]\nfallback = \"ams\"\n\
         [dns.names]\nvideo = [\"video.cdn.example\"]\n[controller]\ndemand = \"dns\"\n"
    );
    Production::from_text("test.toml", &text, folder).unwrap_or_else(|error| panic!("{error}"))
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Wait::from_secs(30), "{what} does not come about");
        std::thread::sleep(Wait::from_millis(20));
    }
}

fn start(
    production: &Production,
    patience: Option<Tell>,
) -> Result<(QueryWatch, Hearing, impl Fn() -> Seen + use<>), WatchError> {
    let watch = QueryWatch::new(production).unwrap().unwrap();
    watch.begin(AT);
    let clock: Clock = Arc::new(|| AT);
    let hearing = Hearing::start(production.queries.as_ref().unwrap(), &watch, &clock, patience)?;
    let closing = watch.clone();
    Ok((watch, hearing, move || closing.close(AT)))
}

#[test]
fn a_socket_that_another_holds_is_a_gap_until_it_is_free_and_then_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tap.sock");
    let production = production(folder.path(), &format!("dnstap = [\"unix:{}\"]", socket.display()), "");
    let addresses = production.queries.as_ref().unwrap().dnstap.clone();
    let other = DnstapListener::bind(&addresses, &ListenOptions::default()).unwrap();

    // Whoever is told of nothing is refused.
    let refused = start(&production, None).err().expect("somebody listens there").to_string();
    assert!(refused.contains("another program listens there"), "{refused}");

    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let tell: Tell = Arc::new(move |text| heard.lock().unwrap().push(text));
    let (_watch, hearing, close) = start(&production, Some(tell)).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Wait::from_millis(700) {
        let seen = close();
        assert_eq!(seen.sources, (0, 1), "what is not heard is told as such");
        assert!(!seen.is_whole());
        std::thread::sleep(Wait::from_millis(50));
    }
    let first = said.lock().unwrap().clone();
    assert!(matches!(&first[..], [only] if only.contains("another program listens there")), "{first:?}");

    drop(other);
    wait_for("the socket is taken over", || said.lock().unwrap().len() > 1);
    assert_eq!(said.lock().unwrap()[1], "queries are heard again");
    // Nobody sends yet, and then somebody does.
    assert_eq!(close().sources, (0, 1));
    let sender = UnixStream::connect(&socket).unwrap();
    wait_for("a whole window with a sender", || close().is_whole());
    drop(sender);
    wait_for("a window without it", || !close().is_whole());

    drop(hearing);
    DnstapListener::bind(&addresses, &ListenOptions::default()).expect("the socket is free when hearing has ended");
}

#[test]
fn logs_are_followed_from_their_end_through_rotation_and_said_when_they_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.log");
    let log = format!("[[dns.log]]\npath = \"{}\"\nformat = \"bind\"", path.display());
    let production = production(folder.path(), "", &log);
    let line = |seconds: u32| {
        format!(
            "27-Nov-2026 10:00:{seconds:02}.000 queries: info: client @0x7f 192.0.2.{seconds}#53{seconds:03} (video.cdn.example): query: video.cdn.example IN A -E(0) (198.51.100.1)\n"
        )
    };
    let (watch, _hearing, close) = start(&production, None).unwrap();
    wait_for("that it is not there is said", || !watch.troubles().is_empty());
    assert_eq!(close().sources, (0, 1));
    let troubles = watch.troubles();
    assert!(troubles[0].0.ends_with("queries.log") && troubles[0].1 == "it is not there", "{troubles:?}");

    // A log that was not there yet is read from its begin.
    fs::write(&path, line(1)).unwrap();
    wait_for("it is read", || close().counts[0].queries == 1);
    wait_for("and that is told", || watch.troubles().is_empty() && close().is_whole());
    let mut counted = 0;
    let mut expect = |what: &str, wanted: u64| {
        wait_for(what, || {
            counted += close().counts.iter().map(|count| count.queries).sum::<u64>();
            counted >= wanted
        });
        assert_eq!(counted, wanted, "{what}");
    };
    let mut log = File::options().append(true).open(&path).unwrap();
    log.write_all((line(2) + &line(3)).as_bytes()).unwrap();
    expect("what is added", 2);
    fs::rename(&path, folder.path().join("queries.log.1")).unwrap();
    log.write_all(line(4).as_bytes()).unwrap();
    fs::write(&path, line(5)).unwrap();
    expect("what came around a rotation", 4);
    fs::remove_file(&path).unwrap();
    wait_for("that it is gone is said", || !watch.troubles().is_empty());
    assert!(!close().is_whole());
}

#[test]
fn who_was_forgotten_among_many_is_the_same_when_he_asks_again() {
    let folder = tempfile::tempdir().unwrap();
    let production = production(folder.path(), "dnstap = [\"tcp:127.0.0.1:1\"]", "");
    let watch = QueryWatch::new(&production).unwrap().unwrap();
    watch.begin(AT);
    let ask = |number: u32, seconds: u64| {
        watch.take(&LoggedQuery {
            at: AT.saturating_add(Duration::from_secs(seconds)),
            client: [10, (number >> 16) as u8, (number >> 8) as u8, number as u8].into(),
            server: None,
            ecs: Prefix::new([100, (number >> 16) as u8, (number >> 8) as u8, 0].into(), 24),
            name: "video.cdn.example",
            qtype: 1,
            vantage: Vantage::Authority,
        });
    };
    // The same hundred before and after more than are remembered.
    const MANY: u32 = 250_000;
    (0..100).for_each(|number| ask(number << 8, 1));
    (0..MANY).for_each(|number| ask(0x0080_0000 + number, 20));
    (0..100).for_each(|number| ask(number << 8, 40));
    let seen = watch.close(AT.saturating_add(Duration::from_secs(60)));
    let count = &seen.counts[0];
    assert_eq!(count.queries, u64::from(MANY) + 200);
    assert_eq!(count.exposure.expect("all were seen").caches, MANY.div_ceil(256) + 100);
}
