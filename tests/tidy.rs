//! The rules of the house, as far as a program can see them: who may know whom, where clocks and chance may live, and
//! what every file owes its reader. ARCHITECTURE.md says why.

use std::fs;
use std::path::{Path, PathBuf};

/// Source files below the given folders of the repository, by ascending path, with their text.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {folders:?}");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The part of a file that ships: what stands before its unit tests, without comments.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(line, text)| (line + 1, text))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// A file that holds nothing but tests.
fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("tests") || text.contains("benches") || text.contains("example") || text.ends_with("trial.rs")
}

/// Fails with every place where a forbidden word stands in shipped code.
fn forbid(folders: &[&str], words: &[&str], allowed: &[&str], rule: &str) {
    let mut found = Vec::new();
    for (path, text) in sources(folders) {
        let name = path.to_string_lossy().into_owned();
        if is_test(&path) || allowed.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        for (line, code) in shipped(&text) {
            if let Some(word) = words.iter().find(|word| code.contains(**word)) {
                found.push(format!("{name}:{line}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

const ALL: [&str; 3] = ["twin", "sim", "adapters"];

fn manifest(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_contract_depends_on_nobody_and_does_nothing() {
    let text = manifest("twin/world/Cargo.toml");
    let section = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<&str> =
        section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).collect();
    assert_eq!(names, ["serde", "thiserror"]);
    forbid(
        &["twin/world/src"],
        &["std::fs", "std::net", "std::process", "std::env", "println!", "std::time"],
        &[],
        "no I/O in forebay-world",
    );
}

#[test]
fn the_two_worlds_never_see_each_other() {
    assert!(!manifest("sim/Cargo.toml").contains("forebay-adapters"));
    assert!(!manifest("adapters/Cargo.toml").contains("forebay-sim"));
    forbid(&["sim/src"], &["forebay_adapters"], &[], "sim does not know adapters");
    forbid(&["adapters/src"], &["forebay_sim"], &[], "adapters does not know sim");
}

#[test]
fn what_decides_knows_no_world() {
    let deciding = [
        "policy",
        "forecast",
        "demand",
        "plan",
        "guard",
        "deployment",
        "slicing",
        "steering",
        "controller",
        "journal",
        "drive",
    ];
    let places: Vec<String> = deciding
        .iter()
        .flat_map(|noun| [format!("twin/src/{noun}.rs"), format!("twin/src/{noun}")])
        .filter(|place| root().join(place).exists())
        .collect();
    assert!(places.len() > 8, "{places:?}");
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    forbid(&places, &["forebay_sim", "forebay_adapters"], &[], "what decides names no world");
    forbid(&places, &["std::fs::", "std::net::", "println!", "eprintln!"], &[], "what decides does no I/O");
}

/// What can write to production is made by `open`, asks a gate, and is called an executor; what can only look, a view.
#[test]
fn whoever_watches_holds_nothing_that_writes() {
    let places = [
        "twin/src/shadow.rs",
        "twin/src/shadow",
        "twin/src/watch/hearing.rs",
        "twin/src/watch/watchers.rs",
        "twin/src/cli/shadow.rs",
    ];
    assert!(sources(&places).len() > 10);
    let words = ["xecutor", "Gate", "live::", "::live", ".open(", "Permit", "Rollout", "set_weights"];
    forbid(&places, &words, &[], "shadow mode and its watchers name nothing that writes to production");
}

#[test]
fn time_is_given_never_taken() {
    // The screen is drawn and the wall time of a run is told by a clock; no decision is.
    let allowed = ["adapters/", "twin/src/main.rs", "twin/src/cli", "twin/src/tui/terminal.rs"];
    let words = ["Instant::now", "SystemTime::now", "thread::sleep", "Timestamp::now", "Zoned::now"];
    forbid(&ALL, &words, &allowed, "clocks and sleeps only in adapters, the command line and the terminal's loop");
}

#[test]
fn chance_comes_from_streams_alone() {
    let words = [
        "StdRng",
        "SmallRng",
        "thread_rng",
        "rand::rng(",
        "from_os_rng",
        "from_entropy",
        "RandomState",
        "SeedableRng",
        "rand::random",
    ];
    forbid(&ALL, &words, &[], "generators only in sim/src/stream.rs");
    forbid(
        &["sim/src"],
        &["impl TryRng", "use rand::"],
        &["sim/src/stream.rs"],
        "generators only in sim/src/stream.rs",
    );
}

#[test]
fn no_mode_below_the_command_line() {
    let words = ["is_simulated", "is_live", "is_shadow", "enum Mode", "Environment::"];
    forbid(
        &["twin/src", "sim/src", "adapters/src"],
        &words,
        &["twin/src/cli", "twin/src/tui"],
        "one loop for every mode",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for (path, text) in sources(&["twin", "sim", "adapters", "tests"]) {
        for (line, code) in text.lines().enumerate() {
            for mark in marks {
                assert!(!code.contains(mark), "{}:{}: {mark}", path.display(), line + 1);
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_holds_one_noun() {
    for (path, text) in sources(&["twin/src", "twin/world/src", "sim/src", "adapters/src", "tests"]) {
        // The tests of a module that stand in a file of their own are that module's.
        let says = text.starts_with("//!") || path.ends_with("tests.rs");
        assert!(says, "{} opens without saying what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= 900, "{} has {lines} lines: one noun each?", path.display());
    }
}

#[test]
fn every_silenced_lint_says_why() {
    for (path, text) in sources(&["twin", "sim", "adapters", "tests"]) {
        for (line, code) in text.lines().enumerate() {
            let silences = code.trim_start().starts_with("#[allow(") || code.trim_start().starts_with("#[expect(");
            let reason = text.lines().skip(line).take(3).any(|code| code.contains("reason"));
            assert!(!silences || reason, "{}:{}: {code}", path.display(), line + 1);
        }
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let machine = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    let mut open = vec![root().to_owned()];
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if [".git", "target", "runs"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            for word in machine {
                assert!(!text.contains(word), "{} names a path of a machine: {word}", path.display());
            }
        }
    }
}

#[test]
fn every_scenario_opens_with_what_it_shows() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let header: String = text.lines().take_while(|line| line.starts_with('#')).collect();
            assert!(header.contains("Shows:") && header.contains("Look for:"), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 7, "{count} scenarios");
    let tests = fs::read_to_string(root().join("tests/scenarios.rs")).unwrap();
    assert!(tests.contains("read_dir"), "tests/scenarios.rs runs whatever stands in scenarios/");
}

#[test]
fn every_result_keeps_its_command() {
    for entry in fs::read_dir(root().join("results")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            let says = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).any(|file| {
                file.extension().is_some_and(|extension| extension == "md")
                    && fs::read_to_string(&file).unwrap().contains("Command")
            });
            assert!(says, "{} does not say how it was made", folder.display());
        }
    }
}
