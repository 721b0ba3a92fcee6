//! A person's yes, as it is typed: on a line of stdin, or at the terminal UI's desk. There is one way to say it.

use std::io::{self, BufRead as _};
use std::sync::mpsc::Sender;
use std::thread;

use forebay_world::VmId;

/// What is allowed.
pub(super) const ALLOWED: &str = "allowed: yes vm-7, yes all";

/// What a person says yes to: one machine, or all that is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yes {
    To(VmId),
    All,
    Unclear,
}

impl Yes {
    /// Reads a line; `None` for an empty one.
    pub(super) fn read(line: &str) -> Option<Yes> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(match words[..] {
            [] => return None,
            ["yes", "all"] => Yes::All,
            ["yes", vm] => {
                vm.strip_prefix("vm-").unwrap_or(vm).parse().map_or(Yes::Unclear, |number| Yes::To(VmId(number)))
            }
            _ => Yes::Unclear,
        })
    }
}

/// Takes lines of stdin from now on.
pub(super) fn take_lines(yes: Sender<Yes>) {
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if let Some(said) = Yes::read(&line)
                && yes.send(said).is_err()
            {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_whole_yes_is_one() {
        assert_eq!(Yes::read(" yes  vm-7 "), Some(Yes::To(VmId(7))));
        assert_eq!(Yes::read("yes 7"), Some(Yes::To(VmId(7))));
        assert_eq!(Yes::read("yes all"), Some(Yes::All));
        assert_eq!(Yes::read("  "), None);
        for unclear in ["y", "yes", "y vm-7", "Yes vm-7", "yes vm-7 vm-8", "yes vm", "yes all of them", "no", "yes -1"]
        {
            assert_eq!(Yes::read(unclear), Some(Yes::Unclear), "{unclear}");
        }
    }
}
