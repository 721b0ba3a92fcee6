//! Every scenario that comes with Forebay is read and checked.

use std::path::Path;

use forebay::scenario::{Overrides, Scenario};

fn scenarios() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("scenarios are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_is_sound_and_says_what_it_shows() {
    let files = scenarios();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{} has no header", file.display());
        assert!(text.contains("\n# Look for:"), "{} does not say what to look for", file.display());
        let scenario = Scenario::load(&file, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(scenario.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()));
        assert!(!scenario.title.is_empty());
    }
}

/// What a run directory keeps as `config.resolved.toml` is a scenario itself, the same one.
#[test]
fn a_resolved_scenario_is_the_scenario() {
    for file in scenarios() {
        let scenario = Scenario::load(&file, &Overrides { seed: Some(7), ..Overrides::default() }).unwrap();
        let again = Scenario::from_text("resolved.toml", &scenario.resolved, Path::new(""), &Overrides::default())
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", file.display(), scenario.resolved));
        assert_eq!(again.resolved, scenario.resolved);
        // Not `assert_eq!`: a recording would be printed whole.
        assert!(format!("{:?}", again.setup) == format!("{:?}", scenario.setup), "{} differs", file.display());
        assert_eq!(again.controller, scenario.controller);
    }
}
