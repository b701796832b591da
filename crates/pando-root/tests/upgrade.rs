//! Root replaces its binary, and takes the former one back when the new one is no good.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pando_root::proto::{ChildId, Exit, FromRoot, Scope, ToRoot};
use rustix::process::Signal;
use support::{Rig, eventually, gone, kill, lives};

/// A root with a worker, a stored fd and a text, all of which must survive.
fn rig() -> (Rig, i32) {
    let tuning = r#"{"hello_ms":1500,"selfcheck_ms":1500,"farewell_ms":1000}"#;
    let rig = Rig::start_as(&[(support::control::TUNING_ENV, tuning)]);
    let worker = rig.shell(
        1,
        "trap 'echo alive >> said' USR1; while :; do sleep 0.02; done",
    );
    rig.order_with(ToRoot::Store { name: "x".into() }, &["kept"]);
    rig.order(ToRoot::Put {
        name: "text".into(),
        value: Some("hi".into()),
    });
    rig.shell(2, "exit 9");
    assert_eq!(rig.exit(2), Exit::Code(9));
    (rig, worker)
}

/// A copy of the probe under a name that makes it behave so.
fn copy(rig: &Rig, name: &str) {
    // By another process: this one forks, and a child might hold the copy open for writing.
    let done = Command::new("cp")
        .arg(support::PROBE)
        .arg(rig.path(name))
        .status()
        .unwrap();
    assert!(done.success());
}

fn upgrade(rig: &Rig, name: &str) {
    rig.order(ToRoot::Upgrade {
        path: rig.path(name),
        supervisor_args: None,
    });
}

#[track_caller]
fn failure(rig: &Rig) -> String {
    rig.wait("the upgrade fails", |message| match message {
        FromRoot::UpgradeFailed { why } => Some(why.clone()),
        _ => None,
    })
}

fn exe(pid: i32) -> String {
    fs::read_link(format!("/proc/{pid}/exe"))
        .unwrap()
        .display()
        .to_string()
}

/// Everything is in the hand-over and works, after `handovers` of them.
#[track_caller]
fn intact(rig: &Rig, worker: i32, handovers: usize) {
    let FromRoot::Hello {
        root_pid,
        children,
        fds,
        blobs,
        ..
    } = rig.hello(handovers)
    else {
        unreachable!()
    };
    assert_eq!(root_pid.cast_signed(), rig.root_pid());
    let told: Vec<_> = children
        .iter()
        .map(|c| (c.child.0, c.pid.cast_signed(), c.exit))
        .collect();
    assert_eq!(told[0], (1, worker, None));
    assert_eq!((told[1].0, told[1].2), (2, Some(Exit::Code(9))));
    assert_eq!(fds, ["x"]);
    assert_eq!(blobs, [("text".to_owned(), "hi".to_owned())]);
    assert!(lives(worker));
    let before = fs::read_to_string(rig.path("said"))
        .unwrap_or_default()
        .lines()
        .count();
    rig.signal(1, Signal::USR1, Scope::Process);
    eventually("the worker answers", || {
        (rig.text("said").lines().count() > before).then_some(())
    });
    rig.control(&support::Control::Write {
        name: "x".into(),
        text: "written\n".into(),
    });
    rig.text("kept");
    // Nothing of root's leaks into new children, and their exits are seen.
    let new = 10 + u64::try_from(handovers).unwrap();
    rig.shell(new, "test $(ls /proc/self/fd | wc -l) = 4");
    assert_eq!(rig.exit(new), Exit::Code(0));
}

#[test]
fn a_new_binary_takes_over_in_place() {
    let (rig, worker) = rig();
    copy(&rig, "new");
    let former = rig.supervisor_pid();
    upgrade(&rig, "new");
    intact(&rig, worker, 2);
    let FromRoot::Hello {
        upgraded,
        generation,
        ..
    } = rig.hello(2)
    else {
        unreachable!()
    };
    assert!(upgraded && generation == 1);
    gone(former);
    let new = rig.path("new").display().to_string();
    assert_eq!(
        (exe(rig.root_pid()), exe(rig.supervisor_pid())),
        (new.clone(), new)
    );
    // It is trusted now: a later death is nothing special, even with the file gone.
    fs::remove_file(rig.path("new")).unwrap();
    kill(rig.supervisor_pid(), Signal::KILL);
    intact(&rig, worker, 3);
    let FromRoot::Hello { upgraded, .. } = rig.hello(3) else {
        unreachable!()
    };
    assert!(!upgraded);
    // And it can be upgraded again; the worker's death comes through all that.
    copy(&rig, "newer");
    upgrade(&rig, "newer");
    intact(&rig, worker, 4);
    kill(worker, Signal::KILL);
    assert_eq!(rig.exit(1), Exit::Signal(libc::SIGKILL));
}

#[test]
fn what_is_no_pando_is_refused_and_nothing_changes() {
    let (rig, worker) = rig();
    let supervisor = rig.supervisor_pid();
    let write = |name: &str, text: &str| {
        fs::write(rig.path(name), text).unwrap();
        fs::set_permissions(rig.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("text", "not a program\n");
    write("script", "#!/bin/sh\necho pando 1\n");
    copy(&rig, "refusing");
    fs::copy("/bin/sleep", rig.path("sleep")).unwrap();
    fs::create_dir(rig.path("directory")).unwrap();
    let cases = [
        ("absent", "No such file"),
        ("directory", "exec"),
        ("text", "exec"),
        ("script", "script"),
        (
            "refusing",
            "ended with 3 and said: something is missing here",
        ),
        ("sleep", "self-check ended with 1"),
    ];
    for (n, (name, why)) in cases.into_iter().enumerate() {
        upgrade(&rig, name);
        let failures = eventually("another failure", || {
            let all = rig
                .messages()
                .into_iter()
                .filter_map(|message| match message {
                    FromRoot::UpgradeFailed { why } => Some(why),
                    _ => None,
                });
            let all: Vec<_> = all.collect();
            (all.len() > n).then_some(all)
        });
        assert!(failures[n].contains(why), "{name}: {}", failures[n]);
    }
    assert_eq!(rig.supervisor_pid(), supervisor);
    assert_eq!(exe(rig.root_pid()), support::PROBE);
    assert!(lives(worker) && !rig.messages().contains(&FromRoot::Upgrading));
}

/// The new binary passes its self-check and then is no good.
#[track_caller]
fn rolled_back(name: &str, why: &str) {
    let (rig, worker) = rig();
    copy(&rig, name);
    upgrade(&rig, name);
    let told = failure(&rig);
    assert!(told.contains(why), "{told}");
    // The supervisors of the new binary had no chance to count.
    intact(&rig, worker, 2);
    assert_eq!(
        (exe(rig.root_pid()), exe(rig.supervisor_pid())),
        (support::PROBE.into(), support::PROBE.into())
    );
    // All is as before: it can be tried again with a good one.
    copy(&rig, "good");
    upgrade(&rig, "good");
    intact(&rig, worker, 3);
    rig.order(ToRoot::Forget { child: ChildId(2) });
}

#[test]
fn a_new_supervisor_that_never_says_hello_is_rolled_back() {
    rolled_back("mute", "in time");
}

#[test]
fn a_new_supervisor_that_dies_is_rolled_back() {
    rolled_back("dying", "died 3 times");
}

#[test]
fn a_binary_that_cannot_read_the_state_is_rolled_back() {
    rolled_back("amnesiac", "EOF");
}
