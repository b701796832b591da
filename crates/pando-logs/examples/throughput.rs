//! Lines per second from one writing process through the pump into a file.
//!
//!     cargo run --release -p pando-logs --example throughput [lines] [lines per write]
//!
//! The writer is this program again, so that its work is its own. Prints the rate from the first
//! write to the last line in the file, and the pump thread's processor time.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Instant;

use pando_logs::{FileOptions, Label, Notice, Pump, PumpOptions, SourceId, Stream};

const LINE_BYTES: usize = 100;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| {
        args.next()
            .and_then(|arg| arg.parse().ok())
            .unwrap_or(default)
    };
    let (lines, per_write): (usize, usize) = (number(5_000_000), number(1));
    if std::env::var_os("THROUGHPUT_WRITER").is_some() {
        return write(lines, per_write);
    }
    let dir = std::env::temp_dir().join(format!("pando-throughput-{}", std::process::id()));
    let (done, finished) = channel();
    let pump = Pump::start(PumpOptions {
        dir: dir.clone(),
        intents: None,
        echo: None,
        notices: Box::new(move |notice| {
            if let Notice::Finished(_) = notice {
                let _ = done.send(());
            }
        }),
    })?;
    let rotation = FileOptions {
        keep: 100,
        compress: false,
        ..FileOptions::default()
    };
    pump.configure("bench", rotation);
    let (read, write): (OwnedFd, OwnedFd) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let label = Label {
        app: "bench".into(),
        worker: 0,
        stream: Stream::Out,
    };
    pump.attach(SourceId(1), label, read);
    let start = Instant::now();
    let mut writer = Command::new(std::env::current_exe()?)
        .args([lines.to_string(), per_write.to_string()])
        .env("THROUGHPUT_WRITER", "1")
        .stdout(Stdio::from(write))
        .spawn()?;
    writer.wait()?;
    let written = start.elapsed().as_secs_f64();
    let _ = finished.recv();
    let took = start.elapsed().as_secs_f64();
    let pump_cpu = pump_seconds();
    pump.stop();
    let mut bytes = 0;
    for entry in std::fs::read_dir(&dir)? {
        bytes += entry?.metadata()?.len();
    }
    std::fs::remove_dir_all(&dir)?;
    let rate = lines as f64 / took;
    println!("{lines} lines of {LINE_BYTES} bytes, {per_write} a write: {rate:.0} lines/s");
    println!(
        "writer {written:.2} s, all in the files {took:.2} s, {} MB",
        bytes >> 20
    );
    println!(
        "pump's processor time {pump_cpu:.2} s: {:.0} lines/s of one core",
        lines as f64 / pump_cpu
    );
    let expect = lines * (LINE_BYTES + "2026-11-21T03:44:00.123Z 0 out ".len());
    assert_eq!(bytes, expect as u64, "every line, and nothing else");
    Ok(())
}

fn write(lines: usize, per_write: usize) -> std::io::Result<()> {
    let mut line = vec![b'x'; LINE_BYTES - 1];
    line.push(b'\n');
    let mut stdout = std::fs::File::from(rustix::io::dup(std::io::stdout())?);
    let chunk = line.repeat(per_write);
    for _ in 0..lines / per_write {
        stdout.write_all(&chunk)?;
    }
    stdout.write_all(&line.repeat(lines % per_write))
}

/// Processor seconds of the pump's thread (USER_HZ is 100 on every Linux).
fn pump_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let ticks = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        head.ends_with("log-pump").then_some(ticks)
    });
    ticks.sum::<f64>() / 100.0
}
