//! A process of the bench: started on its core, ended with all that it started.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use e2e::{process, wait};
use rustix::process::Signal;

const STOP_LIMIT: Duration = Duration::from_secs(5);

pub struct Process {
    child: Child,
}

impl Process {
    /// What it prints goes to `output`.
    pub fn start(
        program: &Path,
        args: &[&str],
        core: Option<usize>,
        output: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = match core {
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core.to_string()]).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        let output = File::create(output)?;
        // A group of its own: Ctrl-C reaches the bench, which then ends its children in order.
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It and its children.
    pub fn tree(&self) -> Vec<u32> {
        process::tree(self.child.id())
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pids = self.tree();
        process::signal(self.child.id(), Signal::TERM);
        let gone = wait::until(STOP_LIMIT, || {
            let _ = self.child.try_wait();
            !pids.iter().any(|pid| process::is_alive(*pid))
        });
        if !gone {
            for pid in pids {
                process::kill(pid);
            }
        }
        let _ = self.child.wait();
    }
}

/// Moves this thread, and those that it starts, to one core.
pub fn pin(core: Option<usize>) -> anyhow::Result<()> {
    if let Some(core) = core {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    Ok(())
}
