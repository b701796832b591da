//! The supervisor dies; nothing is lost.

#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]

mod support;

use std::fs;

use pando_root::proto::{ChildId, Exit, FromRoot, ToRoot};
use rustix::process::Signal;
use support::{Control, Rig, kill, lives};

/// No back-off: the deaths are the test's.
const PATIENT: (&str, &str) = (support::control::TUNING_ENV, r#"{"quick_deaths":1000}"#);

fn put(name: &str, value: Option<String>) -> ToRoot {
    ToRoot::Put {
        name: name.into(),
        value,
    }
}

#[test]
fn fifty_supervisors_die_and_no_child_notices() {
    let rig = Rig::start_as(&[PATIENT]);
    let workers: Vec<i32> = (1..=4)
        .map(|child| rig.shell(child, "sleep 1000"))
        .collect();
    // More than one message's worth of fds.
    fs::write(rig.path("kept"), "").unwrap();
    rig.control(&Control::Store {
        prefix: "fd".into(),
        count: 450,
        file: rig.path("kept"),
    });
    rig.order(put("journal", Some("x".repeat(100_000))));
    rig.order(put("gone", Some("y".into())));
    rig.order(put("gone", None));
    rig.order(ToRoot::Drop {
        name: "fd449".into(),
    });
    for round in 1..=50 {
        // An exit that no supervisor is there to see, or that one sees and does not journal.
        let exits = 100 + round;
        let code = round;
        rig.shell(exits, &format!("sleep 0.0{}; exit {code}", round % 5));
        let supervisor = rig.supervisor_pid();
        kill(supervisor, Signal::KILL);
        let hello = rig.hello(usize::try_from(round).unwrap() + 1);
        let FromRoot::Hello {
            root_pid,
            children,
            fds,
            blobs,
            generation,
            upgraded,
            ..
        } = hello
        else {
            unreachable!()
        };
        assert_eq!(root_pid.cast_signed(), rig.root_pid());
        assert_eq!(u64::from(generation), round);
        assert!(!upgraded);
        assert_eq!(fds.len(), 449);
        assert_eq!(blobs, [("journal".to_owned(), "x".repeat(100_000))]);
        assert_eq!(children.len(), 4 + usize::try_from(round).unwrap());
        for (child, pid) in children.iter().zip(&workers) {
            assert_eq!((child.pid.cast_signed(), child.exit), (*pid, None));
            assert_eq!(child.marker, format!("app:{}", child.child.0));
        }
    }
    assert!(workers.iter().all(|pid| lives(*pid)));
    // Every batch came with the right fds: write through one of the last hand-over.
    rig.control(&Control::Write {
        name: "fd448".into(),
        text: "still here\n".into(),
    });
    assert_eq!(rig.text("kept"), "still here\n");
    kill(rig.supervisor_pid(), Signal::KILL);
    let FromRoot::Hello { children, .. } = rig.hello(52) else {
        unreachable!()
    };
    for child in &children[4..] {
        let exit = child.exit.unwrap_or_else(|| rig.exit(child.child.0));
        assert_eq!(
            exit,
            Exit::Code(i32::try_from(child.child.0).unwrap() - 100)
        );
    }
    assert_eq!(children.len(), 54, "the exits of all 50 are kept");
    rig.order(ToRoot::Forget {
        child: ChildId(101),
    });
    rig.order(ToRoot::Forget { child: ChildId(1) });
    rig.wait("a living child is not forgotten", |message| {
        matches!(message, FromRoot::Refused { order, .. } if order == "forget").then_some(())
    });
    kill(rig.supervisor_pid(), Signal::KILL);
    let FromRoot::Hello { children, .. } = rig.hello(53) else {
        unreachable!()
    };
    assert_eq!(children.len(), 53);
}

#[test]
fn the_last_words_of_a_supervisor_are_obeyed() {
    let rig = Rig::start();
    let mut orders = vec![put("last", Some("word".into()))];
    orders.extend((1..=40).map(|n| ToRoot::Spawn(rig.shell_spec(n, "echo >> ran; exit 5"))));
    rig.control(&Control::LastWords { orders });
    let FromRoot::Hello {
        children, blobs, ..
    } = rig.hello(2)
    else {
        unreachable!()
    };
    assert_eq!(blobs, [("last".to_owned(), "word".to_owned())]);
    assert_eq!(children.len(), 40);
    for child in children {
        let exit = child.exit.unwrap_or_else(|| rig.exit(child.child.0));
        assert_eq!(exit, Exit::Code(5));
    }
    assert_eq!(rig.text("ran").lines().count(), 40);
}

#[test]
fn a_stored_fd_is_replaced_and_dropped() {
    let rig = Rig::start();
    let store = || ToRoot::Store { name: "x".into() };
    rig.order_with(store(), &["one"]);
    rig.order_with(store(), &["two"]);
    rig.order_with(ToRoot::Store { name: "y".into() }, &["three"]);
    rig.order(ToRoot::Drop { name: "y".into() });
    rig.control(&Control::Exit { code: 0 });
    let FromRoot::Hello { fds, .. } = rig.hello(2) else {
        unreachable!()
    };
    assert_eq!(fds, ["x"]);
    rig.control(&Control::Write {
        name: "x".into(),
        text: "hi\n".into(),
    });
    assert_eq!(rig.text("two"), "hi\n");
    assert_eq!(fs::read_to_string(rig.path("one")).unwrap(), "");
}

#[test]
fn blobs_have_bounds_and_large_ones_survive() {
    let rig = Rig::start();
    for n in 0..20 {
        rig.control(&Control::Put {
            name: format!("blob{n}"),
            bytes: 200_000,
        });
    }
    rig.control(&Control::Put {
        name: "too long".into(),
        bytes: 300_000,
    });
    rig.wait("a text too long is refused", |message| {
        matches!(message, FromRoot::Refused { why, .. } if why.contains("longer")).then_some(())
    });
    kill(rig.supervisor_pid(), Signal::KILL);
    let FromRoot::Hello { blobs, .. } = rig.hello(2) else {
        unreachable!()
    };
    assert_eq!(blobs.len(), 20);
    assert!(
        blobs
            .iter()
            .all(|(_, value)| *value == "\"".repeat(200_000))
    );
}
