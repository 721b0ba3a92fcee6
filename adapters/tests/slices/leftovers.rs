//! A lab is gone when its test is, whatever became of it.

use std::path::Path;

use super::lab::{Lab, Switch, have, needs, run};

#[test]
#[ignore = "needs root, iproute2, ethtool and openvswitch-switch"]
fn a_lab_leaves_nothing_behind_when_its_test_fails() {
    if !have(needs(Switch::OpenVswitch)) {
        return;
    }
    let mut left = None;
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut lab = Lab::new(1, Switch::OpenVswitch);
        let names = [lab.switch(), lab.sink(), lab.source(0)].map(|namespace| namespace.name().to_owned());
        assert!(names.iter().all(|name| run("ip", &["netns", "list"]).contains(name)));
        let daemons = lab.daemons().unwrap();
        let processes = daemons.processes();
        assert_eq!(processes.len(), 2);
        left = Some((names, processes, daemons.path("")));
        std::panic::resume_unwind(Box::new("as a failing test does"));
    }));
    assert!(failed.is_err());
    let (names, processes, folder) = left.unwrap();
    let namespaces = run("ip", &["netns", "list"]);
    assert!(names.iter().all(|name| !namespaces.contains(name)), "{namespaces}");
    assert!(processes.iter().all(|process| !Path::new("/proc").join(process.to_string()).exists()));
    assert!(!folder.exists());
}
