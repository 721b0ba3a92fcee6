//! What is wrong with a scenario is said with file, line, what is allowed and a hint: one file for each message.
//!
//! The snapshots are the messages as an operator sees them without a terminal. Update them with `INSTA_UPDATE=always`,
//! and read what changed.

use std::path::Path;

use assert_cmd::Command;

#[test]
fn every_mistake_has_its_message() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<String> = std::fs::read_dir(root.join("tests/invalid"))
        .expect("there are invalid files")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("named in UTF-8"))
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() > 40);
    for file in files {
        let path = format!("tests/invalid/{file}");
        let output = Command::cargo_bin("forebay")
            .expect("the command is built")
            .current_dir(root)
            .args(["check", &path])
            .output()
            .expect("it runs");
        let said = String::from_utf8(output.stderr).expect("it speaks UTF-8");
        assert_eq!(output.status.code(), Some(2), "{file}: {said}");
        assert!(output.stdout.is_empty(), "{file}: data on stdout");
        assert!(!said.contains("panicked"), "{file}: {said}");
        assert!(said.contains("tests/invalid/"), "{file} is not named: {said}");
        assert!(said.contains("hint: "), "{file} has no hint: {said}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("invalid-{}", file.trim_end_matches(".toml")), said);
        });
    }
}
