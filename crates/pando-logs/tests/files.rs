//! Rotation, compression, following and full disks, with the real pump.

#![expect(
    clippy::unwrap_used,
    reason = "a test's plain functions may fail by panicking too"
)]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pando_logs::{Cursor, Line, Notice, SourceId, Stream};
use support::{
    all, attach_new, cursor, files, label, query, start, texts, wait_finished, wait_for,
};

const MANY: usize = 200_000;

fn write_numbers(mut pipe: std::fs::File, from: usize, to: usize) {
    for chunk in (from..to).collect::<Vec<_>>().chunks(100) {
        let text: String = chunk
            .iter()
            .map(|n| format!("number {n} {}\n", "x".repeat(40)))
            .collect();
        pipe.write_all(text.as_bytes()).unwrap();
    }
}

fn number(line: &Line) -> usize {
    let text = std::str::from_utf8(&line.text).unwrap();
    text.split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{text:?}"))
}

fn drain(cursor: &mut Cursor, found: &mut Vec<usize>) {
    loop {
        let lines = cursor.read(1 << 20).unwrap();
        found.extend(lines.iter().map(number));
        if lines.is_empty() && !cursor.is_behind() {
            return;
        }
    }
}

fn assert_all(who: &str, found: &[usize], from: usize) {
    if let Some(at) =
        (0..found.len().max(MANY - from)).find(|at| found.get(*at) != Some(&(from + at)))
    {
        panic!(
            "{who}: {:?} in place of {}, {} lines",
            found.get(at),
            from + at,
            found.len()
        );
    }
}

fn packed_files(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".gz")).count()
}

#[test]
fn followers_fast_and_slow_miss_nothing_under_rotation_and_compression() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    pump.configure("a", files(400_000, 1_000, true));
    let worker = attach_new(&pump, 1, "a");
    let mut before_all = cursor("a", dir.path());
    let writer = std::thread::spawn(move || write_numbers(worker, 0, MANY));
    wait_for("the file", || dir.path().join("a.log").exists());

    let (mut fast, mut slow) = (before_all, cursor("a", dir.path()));
    let (mut fast_found, mut slow_found) = (Vec::new(), Vec::new());
    let mut turn = 0;
    while !writer.is_finished() {
        drain(&mut fast, &mut fast_found);
        turn += 1;
        if turn % 50 == 0 {
            // A little at a time: many rotations happen between two reads.
            slow_found.extend(slow.read(10_000).unwrap().iter().map(number));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.join().unwrap();
    wait_finished(&notices, 1);
    wait_for("compression", || packed_files(dir.path()) >= 10);
    drain(&mut fast, &mut fast_found);
    drain(&mut slow, &mut slow_found);
    assert_all("fast", &fast_found, 0);
    assert_all("slow", &slow_found, slow_found[0]);

    let tail: Vec<usize> = all("a", dir.path()).iter().map(number).collect();
    assert!(tail.into_iter().eq(MANY - pando_logs::MAX_TAIL_LINES..MANY));
    before_all = cursor("a", dir.path());
    assert!(before_all.read(1_000).unwrap().is_empty());
    assert!(
        notices
            .lock()
            .unwrap()
            .iter()
            .all(|n| !matches!(n, Notice::WriteError { .. }))
    );
}

#[test]
fn a_follower_left_behind_by_deletion_goes_on_with_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    pump.configure("a", files(50_000, 2, false));
    let worker = attach_new(&pump, 1, "a");
    let mut follower = {
        write_numbers(worker.try_clone().unwrap(), 0, 100);
        pump.flush();
        cursor("a", dir.path())
    };
    for from in (100..20_100).step_by(500) {
        write_numbers(worker.try_clone().unwrap(), from, from + 500);
        pump.flush();
    }
    drop(worker);
    wait_finished(&notices, 1);
    let mut found = Vec::new();
    drain(&mut follower, &mut found);
    assert!(found.is_sorted() && found.last() == Some(&20_099));
    // The file it had open, then a gap, then the three that are left.
    assert_eq!(found[0], 100);
    let gaps = found
        .windows(2)
        .filter(|pair| pair[1] != pair[0] + 1)
        .count();
    assert_eq!(gaps, 1, "{} lines", found.len());
}

#[test]
fn what_a_killed_run_left_is_compressed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: usize| format!("2026-11-21T03:44:00.{n:03}Z 0 out number {n}\n");
    std::fs::write(dir.path().join("a.log.1"), line(2)).unwrap();
    std::fs::write(dir.path().join("a.log.2"), line(1)).unwrap();
    std::fs::write(dir.path().join("a.log.gz.tmp"), "half").unwrap();
    std::fs::write(dir.path().join("a.log"), line(3)).unwrap();
    let (pump, _) = start(dir.path());
    pump.configure("a", files(1_000_000, 5, true));
    wait_for("compression", || {
        packed_files(dir.path()) == 2 && !dir.path().join("a.log.gz.tmp").exists()
    });
    wait_for("plain ones gone", || !dir.path().join("a.log.1").exists());
    assert_eq!(
        all("a", dir.path()).iter().map(number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    pump.stop();
}

#[test]
fn the_tail_of_a_large_file_does_not_read_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("2026-11-21T03:44:00.123Z 0 out {}\n", "x".repeat(90));
    std::fs::write(dir.path().join("a.log"), line.repeat(400_000)).unwrap();
    let before = read_bytes();
    let (lines, _) = pando_logs::tail(&query("a", dir.path(), 10)).unwrap();
    assert_eq!(lines.len(), 10);
    let read = read_bytes() - before;
    // Other tests of this process read as well; the file has 50 MB.
    println!("{read} bytes read by this thread");
    assert!(read < 1 << 20, "{read}");
}

/// Bytes that this thread read by any means.
fn read_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    io.lines()
        .find_map(|l| l.strip_prefix("rchar: ")?.parse().ok())
        .unwrap()
}

const FULL_DISK: &str = "PANDO_LOGS_FULL_DISK_TEST";

#[test]
fn a_full_disk_costs_old_files_first_and_never_stalls_a_worker() {
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=3m none \"$1\" && shift && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare
        .args(["--mount", "sh", "-c", mount, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_a_small_disk", "--ignored", "--nocapture"])
        .env(FULL_DISK, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "a tmpfs is needed:\n{said}\n{errors}"
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run on a small tmpfs by the test above"]
fn on_a_small_disk() {
    let Ok(dir) = std::env::var(FULL_DISK) else {
        return;
    };
    let dir = PathBuf::from(dir);
    old_files_go_first(&dir);
    lines_wait_then_are_dropped_and_counted(&dir);
    a_pipe_already_full_is_relieved(&dir);
}

/// Its worker stands still, so no further write gives the pump an occasion.
fn a_pipe_already_full_is_relieved(dir: &Path) {
    std::fs::remove_file(dir.join("b.log")).unwrap();
    let mut filler = std::fs::File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    let (pump, notices) = start(dir);
    let (read, write) = rustix::pipe::pipe().unwrap();
    let capacity = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20).unwrap();
    let mut worker = std::fs::File::from(write);
    let lines = capacity / 16;
    worker
        .write_all("fifteen letters\n".repeat(lines).as_bytes())
        .unwrap();
    pump.attach(SourceId(3), label("c", 0, Stream::Out), read);
    worker.write_all(b"one more\n").unwrap();
    drop((worker, filler));
    std::fs::remove_file(dir.join("filler")).unwrap();
    wait_finished(&notices, 3);
    let (markers, kept): (Vec<Line>, Vec<Line>) = all("c", dir)
        .into_iter()
        .partition(|line| line.text.starts_with(b"[pando] "));
    let lost: usize = markers.iter().map(number).sum();
    assert!(
        lost > 0 && lost + kept.len() == lines + 1,
        "{lost} and {}",
        kept.len()
    );
}

/// 12 MB through 3 MB of disk.
fn old_files_go_first(dir: &Path) {
    let (pump, notices) = start(dir);
    pump.configure("a", files(200_000, 1_000, false));
    write_numbers(attach_new(&pump, 1, "a"), 0, MANY);
    wait_finished(&notices, 1);
    let found: Vec<usize> = all("a", dir).iter().map(number).collect();
    assert!(
        found.len() > 10_000 && found.iter().copied().eq(found[0]..MANY),
        "{}",
        found.len()
    );
    let heard = notices.lock().unwrap();
    assert!(
        heard
            .iter()
            .all(|n| !matches!(n, Notice::WriteError { .. } | Notice::Dropped { .. }))
    );
    drop(pump);
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn lines_wait_then_are_dropped_and_counted(dir: &Path) {
    let (pump, notices) = start(dir);
    pump.configure("b", files(1 << 30, 10, false));
    let worker = attach_new(&pump, 2, "b");
    write_numbers(worker.try_clone().unwrap(), 0, 100);
    pump.flush();
    let mut filler = std::fs::File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}

    // What fits the pipe waits, and is all there once there is room.
    write_numbers(worker.try_clone().unwrap(), 100, 5_000);
    let has_error = || {
        notices
            .lock()
            .unwrap()
            .iter()
            .any(|n| matches!(n, Notice::WriteError { .. }))
    };
    wait_for("the write error", has_error);
    std::fs::remove_file(dir.join("filler")).unwrap();
    drop(filler);
    wait_for("the lines that waited", || all("b", dir).len() == 5_000);

    let mut filler = std::fs::File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    // Far more than the pipe holds: returns at all only if it is read on.
    write_numbers(worker.try_clone().unwrap(), 5_000, 105_000);
    drop(worker);
    std::fs::remove_file(dir.join("filler")).unwrap();
    drop(filler);
    wait_finished(&notices, 2);
    pump.flush();
    let lines = all("b", dir);
    let (markers, kept): (Vec<Line>, Vec<Line>) = lines
        .into_iter()
        .partition(|line| line.text.starts_with(b"[pando] "));
    let lost: usize = markers.iter().map(number).sum();
    println!("{} kept, {lost} lost, {:?}", kept.len(), texts(&markers));
    assert!(lost > 0 && kept.len() + lost == 105_000);
    assert!(kept.iter().map(number).is_sorted());
    assert!(texts(&markers)[0].ends_with("lines lost: No space left on device"));
    let told: u64 = notices
        .lock()
        .unwrap()
        .iter()
        .map(|n| {
            if let Notice::Dropped { lines, .. } = n {
                *lines
            } else {
                0
            }
        })
        .sum();
    assert!(told > 0 && told <= lost as u64);
}
