//! Children: how they start, what they get, how they and their trees end.

mod support;

use std::collections::BTreeSet;
use std::fs;

use pando_root::proto::{ChildId, Exit, FromRoot, Scope, SpawnSpec, ToRoot, User};
use rustix::process::Signal;
use support::{Control, Rig, children, eventually, gone, lives};

#[test]
fn exits_are_told_as_they_were() {
    let rig = Rig::start();
    rig.shell(1, "exit 0");
    rig.shell(2, "exit 7");
    rig.shell(3, "kill -SEGV $$");
    rig.shell(4, "sleep 1000");
    assert_eq!(rig.exit(1), Exit::Code(0));
    assert_eq!(rig.exit(2), Exit::Code(7));
    assert_eq!(rig.exit(3), Exit::Signal(libc::SIGSEGV));
    rig.signal(4, Signal::TERM, Scope::Process);
    assert_eq!(rig.exit(4), Exit::Signal(libc::SIGTERM));
}

#[test]
fn a_child_gets_what_its_spec_says_and_nothing_else() {
    let rig = Rig::start();
    let script = "exec >&3; pwd; env | sort; ls -l /proc/self/fd | wc -l; \
                  cut -d' ' -f1,6 /proc/$$/stat; readlink /proc/$$/fd/0 /proc/$$/fd/2";
    let mut spec = rig.shell_spec(1, script);
    spec.argv0 = Some("named".into());
    spec.env.push(("A".into(), "one two".into()));
    spec.env.push(("PANDO_WORKER".into(), "forged".into()));
    spec.fds = vec![1, 3];
    rig.order_with(ToRoot::Spawn(spec), &["out", "three"]);
    let pid = rig.spawned(1);
    assert_eq!(rig.exit(1), Exit::Code(0));
    let text = rig.text("three");
    let lines: Vec<&str> = text.lines().collect();
    let dir = fs::canonicalize(rig.path(".")).unwrap();
    assert_eq!(lines[0], dir.to_str().unwrap());
    let env: BTreeSet<&str> = lines[1..]
        .iter()
        .copied()
        .take_while(|l| l.contains('='))
        .collect();
    let names: Vec<&str> = env
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    let want: BTreeSet<_> = ["A", "PANDO_HOME_ID", "PANDO_WORKER", "PATH", "PWD"].into();
    let shells_own: BTreeSet<_> = ["OLDPWD", "SHLVL", "_"].into();
    let got = names
        .iter()
        .copied()
        .filter(|name| !shells_own.contains(name))
        .collect();
    assert_eq!(want, got, "{text}");
    assert!(
        env.contains("A=one two") && env.contains("PANDO_WORKER=app:1"),
        "{text}"
    );
    let rest = &lines[1 + env.len()..];
    // ls: a header, 0 to 3, and the directory it reads.
    assert_eq!(rest[0], "6", "{text}");
    assert_eq!(rest[1], format!("{pid} {pid}"), "its own session: {text}");
    assert_eq!(&rest[2..], ["/dev/null", "/dev/null"], "{text}");
    // Not through a shell, which changes its signals at times.
    let mut spec = rig.shell_spec(2, "");
    (spec.program, spec.fds) = ("/bin/grep".into(), vec![1]);
    spec.args = ["-E", "Sig(Blk|Ign)", "/proc/self/status"]
        .map(Into::into)
        .into();
    rig.order_with(ToRoot::Spawn(spec), &["signals"]);
    assert_eq!(rig.exit(2), Exit::Code(0));
    let none = "0000000000000000";
    assert_eq!(
        rig.text("signals"),
        format!("SigBlk:\t{none}\nSigIgn:\t{none}\n")
    );
}

#[test]
fn the_open_files_limit_is_the_original_or_the_hard_one() {
    let rig = Rig::start();
    for (child, nofile) in [(1, false), (2, true)] {
        let mut spec = rig.shell_spec(child, "echo $(ulimit -Sn) $(ulimit -Hn) > limit$0");
        (spec.nofile, spec.argv0) = (nofile, None);
        spec.args.push(child.to_string());
        rig.order(ToRoot::Spawn(spec));
    }
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let number = |n: Option<u64>| n.map_or("unlimited".to_owned(), |n| n.to_string());
    let (soft, hard) = (number(own.current), number(own.maximum));
    assert_eq!(rig.text("limit1"), format!("{soft} {hard}\n"));
    assert_eq!(rig.text("limit2"), format!("{hard} {hard}\n"));
}

#[test]
fn another_user_is_what_was_asked_for() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let rig = Rig::start();
    let mut spec = rig.shell_spec(1, "id -u; id -g; id -G; sleep 1000");
    spec.cwd = "/".into();
    spec.user = Some(User {
        uid: 65_534,
        gid: 65_533,
        groups: vec![65_533, 65_532],
    });
    spec.fds = vec![1];
    rig.order_with(ToRoot::Spawn(spec), &["ids"]);
    let pid = rig.spawned(1);
    eventually("ids", || {
        (rig.text("ids").lines().count() == 3).then_some(())
    });
    assert_eq!(rig.text("ids"), "65534\n65533\n65533 65532\n");
    // The change of user must not cost it the signal of root's death.
    support::kill(rig.root_pid(), Signal::KILL);
    gone(pid);
}

type Spoil<'a> = dyn Fn(&mut SpawnSpec) + 'a;

#[test]
fn a_spawn_that_fails_says_at_which_step() {
    let rig = Rig::start();
    let spec = |child| rig.shell_spec(child, "exit 0");
    fs::write(rig.path("text"), "no program").unwrap();
    let cases: [(u64, &str, i32, Box<Spoil<'_>>); 6] = [
        (
            1,
            "exec",
            libc::ENOENT,
            Box::new(|s| s.program = "/no/such".into()),
        ),
        (
            2,
            "exec",
            libc::EACCES,
            Box::new(|s| s.program = rig.path("text")),
        ),
        (
            3,
            "chdir",
            libc::ENOENT,
            Box::new(|s| s.cwd = "/no/such".into()),
        ),
        (
            4,
            "a zero byte in a text",
            libc::EINVAL,
            Box::new(|s| s.args.push("\0".into())),
        ),
        (
            5,
            "env",
            libc::EINVAL,
            Box::new(|s| s.env.push(("A=B".into(), String::new()))),
        ),
        (
            6,
            "exec",
            libc::E2BIG,
            Box::new(|s| s.args.push("x".repeat(200_000))),
        ),
    ];
    for (child, stage, errno, spoil) in cases {
        let mut spec = spec(child);
        spoil(&mut spec);
        rig.order(ToRoot::Spawn(spec));
        assert_eq!(rig.spawn_failure(child), (stage.to_owned(), errno));
    }
    let mut far = spec(7);
    far.fds = vec![256];
    rig.order_with(ToRoot::Spawn(far), &["x"]);
    assert_eq!(rig.spawn_failure(7), ("fds".to_owned(), libc::EBADF));
    rig.shell(8, "sleep 1000");
    rig.order(ToRoot::Spawn(spec(8)));
    assert_eq!(
        rig.spawn_failure(8),
        ("child id in use".to_owned(), libc::EEXIST)
    );
    // None of them is in the table, or a zombie.
    support::kill(rig.supervisor_pid(), Signal::KILL);
    let FromRoot::Hello { children, .. } = rig.hello(2) else {
        unreachable!()
    };
    assert_eq!(children.iter().map(|c| c.child.0).collect::<Vec<_>>(), [8]);
    assert!(children_are_fine(&rig));
}

fn children_are_fine(rig: &Rig) -> bool {
    children(rig.root_pid())
        .iter()
        .all(|(_, state)| state != "Z")
}

/// A script that leaves four descendants behind: a plain one, one in a session of its own, one
/// doubly forked into such a session, and one with an empty environment.
const FAMILY: &str = "sleep 1000 & echo $! > plain
    setsid sh -c 'echo $$ > session; sleep 1000; :' &
    (setsid sh -c 'echo $$ > daemon; sleep 1000; :' &)
    env -i sh -c 'echo $$ > bare; sleep 1000; :' &";

fn family(rig: &Rig) -> Vec<i32> {
    ["plain", "session", "daemon", "bare"]
        .map(|name| rig.pid_in(name))
        .to_vec()
}

#[test]
fn a_tree_is_killed_with_those_who_left_it() {
    let rig = Rig::start();
    let main = rig.shell(1, &format!("{FAMILY} wait"));
    let mut other = rig.shell_spec(
        2,
        "(setsid sh -c 'echo $$ > other; sleep 1000; :' &) ; wait; sleep 1000",
    );
    other.marker = "app:1".into();
    rig.order(ToRoot::Spawn(other));
    let (family, other) = (family(&rig), rig.pid_in("other"));
    assert!(family.iter().all(|pid| lives(*pid)));
    rig.signal(1, Signal::KILL, Scope::Tree);
    assert_eq!(rig.exit(1), Exit::Signal(libc::SIGKILL));
    gone(main);
    family.into_iter().for_each(gone);
    assert!(
        lives(other) && lives(rig.spawned(2)),
        "another child's tree is not touched"
    );
}

#[test]
fn a_signal_reaches_the_whole_tree_or_one_process() {
    let rig = Rig::start();
    let script = "trap 'echo main >> got' USR1
        (trap 'echo inner >> got' USR1; echo > inner; while :; do sleep 0.02; done) &
        setsid sh -c 'trap \"echo outer >> got\" USR1; echo > outer; while :; do sleep 0.02; done' &
        echo > main; while :; do sleep 0.02; done";
    rig.shell(1, script);
    ["main", "inner", "outer"]
        .iter()
        .for_each(|name| drop(rig.text(name)));
    rig.signal(1, Signal::USR1, Scope::Process);
    assert_eq!(rig.text("got"), "main\n");
    rig.signal(1, Signal::USR1, Scope::Tree);
    let all = eventually("everyone got it", || {
        let text = rig.text("got");
        (text.lines().count() == 4).then_some(text)
    });
    assert!(all.contains("inner") && all.contains("outer"), "{all}");
}

#[test]
fn what_a_child_leaves_behind_is_killed_when_it_exits_by_itself() {
    let rig = Rig::start();
    rig.shell(
        1,
        &format!("{FAMILY} while [ ! -e go ]; do sleep 0.02; done; exit 3"),
    );
    let family = family(&rig);
    // As long as it lives, its daemons may.
    rig.shell(2, "exit 0");
    rig.exit(2);
    assert!(family.iter().all(|pid| lives(*pid)));
    fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.exit(1), Exit::Code(3));
    family.into_iter().for_each(gone);
    // Forgotten or not, late ones too.
    rig.order(ToRoot::Forget { child: ChildId(1) });
    eventually("no zombie", || children_are_fine(&rig).then_some(()));
}

#[test]
fn what_is_below_a_shell_that_was_asked_to_stop_may_finish() {
    let rig = Rig::start();
    let app =
        |says: &str| format!("trap '{says}' TERM; echo $$ > app; while :; do sleep 0.02; done");
    fs::write(rig.path("gentle"), app("sleep 0.3; echo > done; exit 0")).unwrap();
    rig.shell(1, "sh ./gentle; :");
    let gentle = rig.pid_in("app");
    rig.signal(1, Signal::TERM, Scope::Tree);
    assert_eq!(rig.exit(1), Exit::Signal(libc::SIGTERM));
    assert!(
        rig.path("done").exists(),
        "the exit is told after the app's"
    );
    gone(gentle);
    // One that does not end holds the exit back until it is killed.
    fs::remove_file(rig.path("app")).unwrap();
    fs::write(rig.path("deaf"), app(":")).unwrap();
    let shell = rig.shell(2, "sh ./deaf; :");
    let deaf = rig.pid_in("app");
    rig.signal(2, Signal::TERM, Scope::Tree);
    gone(shell);
    rig.shell(3, "exit 0");
    rig.exit(3);
    assert!(lives(deaf));
    rig.signal(2, Signal::KILL, Scope::Tree);
    assert_eq!(rig.exit(2), Exit::Signal(libc::SIGTERM));
    gone(deaf);
}

#[test]
fn orphans_are_buried_and_no_zombie_stays() {
    let rig = Rig::start();
    for child in 0..8 {
        rig.shell(
            child,
            "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.0$0' $i &); done; sleep 0.2",
        );
    }
    (0..8).for_each(|child| assert_eq!(rig.exit(child), Exit::Code(0)));
    let supervisor = rig.supervisor_pid();
    eventually("only the supervisor is left", || {
        (children(rig.root_pid()) == [(supervisor, "S".to_owned())]).then_some(())
    });
}

#[test]
fn spawning_is_fast_and_root_is_small() {
    let rig = Rig::start();
    for child in 0..4 {
        rig.shell(child, "sleep 1000");
    }
    rig.control(&Control::Bench { count: 200 });
    let micros: Vec<u64> = eventually("the bench ends", || {
        let events = rig.events();
        let found = events
            .iter()
            .find_map(|event| event.get("spawn_micros").cloned())?;
        serde_json::from_value(found).ok()
    });
    let status = fs::read_to_string(format!("/proc/{}/status", rig.root_pid())).unwrap();
    let rss: Vec<&str> = status
        .lines()
        .filter(|line| line.starts_with("Rss") || line.starts_with("VmRSS"))
        .collect();
    println!(
        "spawn: median {} us, p95 {} us; {rss:?}",
        micros[100], micros[190]
    );
    assert_eq!(micros.len(), 200);
}
