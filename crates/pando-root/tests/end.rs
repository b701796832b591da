//! Starting twice, signals to root, and every way in which root ends.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use pando_root::proto::{FromRoot, ToRoot};
use rustix::process::Signal;
use support::control::{DYING_FIRST_ENV, FAILED, LOCKED, READY_ENV, TUNING_ENV};
use support::{PROBE, Rig, eventually, gone, kill, lives, root_command};

const FAMILY: &str = "(setsid sh -c 'echo $$ > daemon; sleep 1000; :' &)
    sh -c 'echo $$ > inner; sleep 1000; :' & wait";

fn family(rig: &Rig) -> [i32; 3] {
    [
        rig.shell(1, FAMILY),
        rig.pid_in("daemon"),
        rig.pid_in("inner"),
    ]
}

#[test]
fn a_second_root_on_the_home_is_told_who_holds_it() {
    let rig = Rig::start();
    let mut second = root_command(&rig.home(), "foreground", &[]);
    let second = second.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(LOCKED.into()));
    let said = String::from_utf8(second.stdout).unwrap();
    assert!(
        said.contains(&format!("Locked {{ pid: Some({}) }}", rig.root_pid())),
        "{said}"
    );
    assert!(pando_root::kill_leftovers(&rig.home()).unwrap().is_empty());
    assert!(lives(rig.root_pid()) && lives(rig.supervisor_pid()));
}

#[test]
fn shutdown_ends_everything_with_its_code() {
    let mut rig = Rig::start();
    let family = family(&rig);
    // Wiped its environment and left its session: nobody's, but root's own in the end.
    rig.shell(
        2,
        "(env -i setsid sh -c 'echo $$ > hidden; sleep 1000; :' &)
        while [ ! -e hidden ]; do sleep 0.02; done",
    );
    let hidden = rig.pid_in("hidden");
    rig.exit(2);
    let supervisor = rig.supervisor_pid();
    rig.order(ToRoot::Shutdown { code: 42 });
    assert_eq!(rig.root_exit().code(), Some(42));
    family
        .into_iter()
        .chain([hidden, supervisor])
        .for_each(|pid| assert!(!lives(pid), "{pid}"));
    assert_eq!(
        fs::read_to_string(rig.home().join("root.lock")).unwrap(),
        ""
    );
    // The home is free again.
    rig.launch_again();
    rig.hello(2);
}

#[test]
fn children_die_with_a_root_that_is_killed() {
    let mut rig = Rig::start();
    let family = family(&rig);
    let supervisor = rig.supervisor_pid();
    kill(rig.root_pid(), Signal::KILL);
    assert_eq!(rig.root_exit().signal(), Some(libc::SIGKILL));
    family.into_iter().for_each(gone);
    gone(supervisor);
    eventually("the supervisor said what it did", || {
        rig.events()
            .iter()
            .any(|event| event.get("root_is_gone").is_some())
            .then_some(())
    });
}

#[test]
fn the_next_root_clears_up_when_everything_was_killed() {
    let mut rig = Rig::start();
    let [worker, daemon, inner] = family(&rig);
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    let bystander_of_other_home = Command::new("sleep")
        .arg("1000")
        .env("PANDO_HOME_ID", "0123456789abcdef/1")
        .spawn();
    let mut other = bystander_of_other_home.unwrap();
    // The supervisor first, while it cannot be started again.
    kill(rig.root_pid(), Signal::STOP);
    kill(rig.supervisor_pid(), Signal::KILL);
    kill(rig.root_pid(), Signal::KILL);
    rig.root_exit();
    gone(worker);
    assert!(lives(daemon) && lives(inner));
    rig.launch_again();
    rig.hello(2);
    gone(daemon);
    gone(inner);
    assert!(lives(bystander.id().cast_signed()) && lives(other.id().cast_signed()));
    for child in [&mut bystander, &mut other] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn signals_are_forwarded() {
    let rig = Rig::start();
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
    ] {
        kill(rig.root_pid(), signal);
        let want = FromRoot::Signal {
            signal: signal.as_raw(),
        };
        rig.wait(&format!("{signal:?}"), |message| {
            (*message == want).then_some(())
        });
    }
    assert!(lives(rig.root_pid()));
}

fn with_the_last_supervisor() -> (Rig, [i32; 3]) {
    let tuning = r#"{"unheard_stop_ms":200}"#;
    let rig = Rig::start_as(&[(TUNING_ENV, tuning)]);
    let family = family(&rig);
    rig.no_supervisor_follows();
    (rig, family)
}

#[test]
fn a_stop_signal_that_no_supervisor_takes_ends_root() {
    let (mut rig, family) = with_the_last_supervisor();
    kill(rig.supervisor_pid(), Signal::KILL);
    eventually("it is dead", || {
        (!lives(rig.supervisor_pid())).then_some(())
    });
    kill(rig.root_pid(), Signal::TERM);
    assert_eq!(rig.root_exit().code(), Some(128 + libc::SIGTERM));
    family.into_iter().for_each(gone);
}

#[test]
fn a_stop_signal_that_a_dying_supervisor_was_told_is_not_lost() {
    let (mut rig, family) = with_the_last_supervisor();
    // The signal is told to the supervisor in charge, which does nothing about it and dies.
    kill(rig.root_pid(), Signal::TERM);
    let want = FromRoot::Signal {
        signal: libc::SIGTERM,
    };
    rig.wait("the signal", |message| (*message == want).then_some(()));
    kill(rig.supervisor_pid(), Signal::KILL);
    assert_eq!(rig.root_exit().code(), Some(128 + libc::SIGTERM));
    family.into_iter().for_each(gone);
}

#[test]
fn whoever_started_a_daemon_hears_how_it_went() {
    let hear = |env: &[(&str, &str)], home: &Path, fifo: &str| {
        let fifo = home.parent().unwrap().join(fifo);
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let env: Vec<_> = env
            .iter()
            .copied()
            .chain([(READY_ENV, fifo.to_str().unwrap())])
            .collect();
        let mut root = root_command(home, "daemon", &env).spawn().unwrap();
        let text = fs::read_to_string(&fifo).unwrap();
        let status = root.try_wait().unwrap();
        (text, status, root)
    };
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("a");
    let (text, status, mut root) = hear(&[], &home, "1");
    assert_eq!((text.as_str(), status), ("ok\n", None));
    let cwd = fs::read_link(format!("/proc/{}/cwd", root.id())).unwrap();
    assert_eq!(cwd, home.canonicalize().unwrap());
    let (text, _, mut second) = hear(&[], &home, "2");
    assert_eq!(text, "another pando root holds this home\n");
    assert_eq!(second.wait().unwrap().code(), Some(LOCKED.into()));
    let (text, _, mut failing) = hear(&[(DYING_FIRST_ENV, "1")], &dir.path().join("b"), "3");
    assert!(
        text.contains("did not come up: it ended with code 1"),
        "{text}"
    );
    assert_eq!(failing.wait().unwrap().code(), Some(FAILED.into()));
    let file = dir.path().join("file");
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let (text, _, mut failing) = hear(&[], &file, "4");
    assert!(text.contains("cannot make"), "{text}");
    failing.wait().unwrap();
    root.kill().unwrap();
    root.wait().unwrap();
    pando_root::kill_leftovers(&home).unwrap();
}

#[test]
fn it_works_as_the_first_process_of_a_container() {
    let works = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make namespaces");
        return;
    }
    let mut rig = Rig::launch(&[(DYING_FIRST_ENV, "1")]);
    rig.root_exit();
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        PROBE,
        "root",
    ]);
    rig.root = command
        .arg(rig.home())
        .arg("foreground")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let FromRoot::Hello { root_pid, .. } = rig.hello(1) else {
        unreachable!()
    };
    assert_eq!(root_pid, 1);
    rig.shell(1, &FAMILY.replace("wait", "sleep 0.1; exit 0"));
    rig.exit(1);
    rig.order(ToRoot::Shutdown { code: 9 });
    assert_eq!(rig.root_exit().code(), Some(9));
}
