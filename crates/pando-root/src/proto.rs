//! The words that root and its supervisor speak: one JSON value a datagram, file descriptors
//! beside it. Pure data; the framing is in `wire`.
//!
//! A field that a reader does not know is passed over and a field that is absent has a default,
//! so that a root of one version can serve a supervisor of the next until it is upgraded itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// File descriptors beside one message. The kernel's limit is 253 (`SCM_MAX_FD`), and a large
/// message takes one for its body.
pub const MAX_FDS: usize = 200;
/// One message, however it travels.
pub const MAX_MESSAGE_BYTES: u64 = 16 * 1024 * 1024;
/// One blob's value.
pub const MAX_BLOB_BYTES: usize = 256 * 1024;
/// All blobs, names and values together.
pub const MAX_BLOBS_BYTES: usize = 16 * 1024 * 1024;
/// Blobs.
pub const MAX_BLOBS: usize = 8192;
/// File descriptors in the store.
pub const MAX_STORED: usize = 8192;
/// Bytes of a name in the store or of a blob.
pub const MAX_NAME_BYTES: usize = 256;
/// Entries of the child table, those that have exited and are not forgotten included.
pub const MAX_CHILDREN: usize = 4096;
/// The highest fd number that a child may ask for.
pub const MAX_TARGET_FD: i32 = 255;

/// Chosen by the supervisor, never used twice in one root's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// An order of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToRoot {
    /// "I have read the hand-over and I am in charge." Root then tells whoever waits for the
    /// daemon that it is up, and ends the trial of an upgraded binary.
    Hello,
    /// With `spec.fds.len()` fds. Answered by `Spawned` or `SpawnFailed`.
    Spawn(SpawnSpec),
    /// Nothing happens if the child is gone, but with `Tree` what it left behind gets the signal.
    Signal {
        child: ChildId,
        signal: i32,
        scope: Scope,
    },
    /// The exit was seen and journaled: drop it from the table. A child that lives is not dropped.
    Forget {
        child: ChildId,
    },
    /// With one fd, kept under `name` in place of what had that name.
    Store {
        name: String,
    },
    Drop {
        name: String,
    },
    /// A small text that the next supervisor gets back; `None` removes it.
    Put {
        name: String,
        value: Option<String>,
    },
    /// Replace the running binary. Ends in `Upgrading` or `UpgradeFailed`.
    Upgrade {
        /// Absolute.
        path: PathBuf,
        /// Arguments of the new supervisor; those of the present one if absent.
        #[serde(default)]
        supervisor_args: Option<Vec<String>>,
    },
    /// Kill what is left of every child's tree, then end root with this code. The supervisor
    /// exits by itself after it has sent this.
    Shutdown {
        code: i32,
    },
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnSpec {
    pub child: ChildId,
    /// Absolute, or with a slash and relative to `cwd`; PATH is not searched.
    pub program: PathBuf,
    /// argv[1..].
    pub args: Vec<String>,
    /// argv[0]; the program's path if absent.
    #[serde(default)]
    pub argv0: Option<String>,
    /// Complete: nothing is inherited. Root adds `PANDO_WORKER` and `PANDO_HOME_ID`.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// The numbers that the message's fds get in the child, `[0, 1, 2, 3]`. Of 0, 1 and 2 what is
    /// not named is /dev/null.
    pub fds: Vec<i32>,
    #[serde(default)]
    pub user: Option<User>,
    /// Value of `PANDO_WORKER` in the child, for people who look into /proc.
    pub marker: String,
    /// Raise the soft RLIMIT_NOFILE to the hard one.
    #[serde(default)]
    pub nofile: bool,
}

/// Whom to run it as. Needs root's privileges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, complete.
    pub groups: Vec<u32>,
}

/// Whom a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Process,
    /// The process, its descendants, and those of its descendants that have left the tree. With
    /// any signal but SIGKILL that is taken for a request to end: what the process then leaves
    /// behind may end by itself, and its exit is told when all of it is gone. Whoever asks has to
    /// send SIGKILL when the time is over.
    Tree,
}

/// What root tells the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromRoot {
    /// The first message; then `Fds` for every stored fd, then `Ready`.
    Hello {
        root_pid: u32,
        /// Root's version.
        version: String,
        /// Those that live and those whose exit was not yet forgotten.
        children: Vec<ChildInfo>,
        /// Names of the fds that follow.
        fds: Vec<String>,
        /// Name and value.
        blobs: Vec<(String, String)>,
        /// How many supervisors were before.
        generation: u32,
        /// This one is the first of an upgraded binary, still on trial.
        upgraded: bool,
    },
    /// With as many fds as names.
    Fds { names: Vec<String> },
    /// The end of the hand-over. Everything after it is news.
    Ready,
    /// The program runs: its exec worked.
    Spawned { child: ChildId, pid: u32 },
    /// It never ran, and is not in the table.
    SpawnFailed {
        child: ChildId,
        /// What failed, for a person: `exec`, `chdir`, `setuid`, `table full`.
        stage: String,
        errno: i32,
    },
    /// Kept in the table until `Forget`.
    Exited { child: ChildId, exit: Exit },
    /// Root itself got SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 or SIGUSR2.
    Signal { signal: i32 },
    /// An order was not carried out, and no other message says so.
    Refused { order: String, why: String },
    /// Everything is as it was before the order. May come right after `Ready`, when it was a
    /// new binary's supervisor that failed.
    UpgradeFailed { why: String },
    /// The new binary takes over. Write down what must last and exit without touching a worker;
    /// the end of the link that follows is not root's death.
    Upgrading,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildInfo {
    pub child: ChildId,
    pub pid: u32,
    pub marker: String,
    /// `None` while it lives.
    pub exit: Option<Exit>,
    /// Milliseconds since the epoch.
    pub started_ms: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
}
