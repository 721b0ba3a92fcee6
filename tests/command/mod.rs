//! Running the command, and what it has said.
#![allow(dead_code, reason = "shared by tests, each of which uses a part")]

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// Runs `forebay` in a folder, with something on its standard input.
pub(crate) fn forebay(folder: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    Command::cargo_bin("forebay")
        .expect("the command is built")
        .current_dir(folder)
        .args(arguments)
        .write_stdin(stdin)
        .output()
        .expect("it runs")
}

/// What is said on stdout and stderr by a command that must succeed.
pub(crate) fn said(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = forebay(folder, arguments, b"");
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("data is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("talk is UTF-8")
}
