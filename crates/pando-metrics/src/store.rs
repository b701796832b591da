//! Histories and events on disk: `$PANDO_HOME/metrics/history.db`, SQLite, mode 0600. One blob of
//! columns for each thing, resolution and stretch of time; batches of seconds that are in no such
//! block yet stand in the journal.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use monitor_spec::state::Event;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::history::batch::Batch;
use crate::history::block::Block;
use crate::history::tier::{CHAPTER_S, Tier};
use crate::history::{Stored, Write};
use crate::row::Scope;

/// Times that are further in the future are damage, not a clock that was wrong.
pub const LATER_S: i64 = 40 * 365 * 86_400;
const FILE_NAME: &str = "history.db";
/// Damaged files that are kept.
const DAMAGED_MAX: usize = 3;
/// Blocks that one question reads of one thing: 30 days of the coarsest are 720.
const BLOCKS_MAX: i64 = 2_000;
/// Things that one question is about, and rows that are restored.
const SCOPES_MAX: i64 = 1_000;
const RESTORED_MAX: i64 = 20_000;
pub const EVENTS_MAX: i64 = 5_000;
const EVENTS_KEPT: i64 = 50_000;
const EVENTS_KEEP_MS: i64 = 30 * 86_400_000;
/// A larger piece is none of ours: packed as tightly as it can be it would fill the memory.
const PIECE_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Blocks that go at once when there is no room, and how often.
const DROPPED_AT_ONCE: i64 = 500;
const DROPS_MAX: usize = 200;
const SCHEMA: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS journal (start_s INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS blocks (
        tier INTEGER NOT NULL, scope TEXT NOT NULL, start_s INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (tier, scope, start_s)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS blocks_by_age ON blocks (tier, start_s);
    CREATE TABLE IF NOT EXISTS events (
        time_ms INTEGER NOT NULL, app TEXT NOT NULL, worker INTEGER, kind TEXT NOT NULL,
        text TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS events_by_time ON events (time_ms);
    PRAGMA user_version = 1;";

type Result<T> = rusqlite::Result<T>;

pub struct Store {
    db: Connection,
    /// Which file it is: device and inode.
    file: (u64, u64),
}

/// What a supervisor that begins needs.
#[derive(Default)]
pub struct Restored {
    /// Of the finest resolution of each thing, the newest first.
    pub blocks: Vec<(Scope, i64, Arc<[u8]>)>,
    pub batches: Vec<Batch>,
}

/// Where it is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

fn damaged_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{FILE_NAME}.damaged-{number}"))
}

/// The file is no database, or one that is damaged.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

impl Store {
    /// Opens or creates the store in `dir`, which is made if need be.
    ///
    /// # Errors
    /// One sentence: no file can be made or read there, or [`is_damage`].
    pub fn open(dir: &Path) -> Result<Self> {
        let io = |error: std::io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io)?;
        let path = path(dir);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).and_then(|file| file.metadata());
        let file = file.map(|file| (file.dev(), file.ino())).map_err(io)?;
        let db = Connection::open(&path)?;
        db.execute_batch(SCHEMA)?;
        Ok(Self { db, file })
    }

    /// Whether its file still lies in `dir`. One that was deleted or replaced takes writes that
    /// nobody can read later. `true` if it cannot be known.
    pub fn is_in(&self, dir: &Path) -> bool {
        match fs::metadata(path(dir)) {
            Ok(file) => (file.dev(), file.ino()) == self.file,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// Moves the file out of the way; where it is now.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn set_aside(dir: &Path) -> std::io::Result<PathBuf> {
        let path = path(dir);
        let free = (1..=DAMAGED_MAX).find(|n| !damaged_path(dir, *n).exists());
        let target = damaged_path(dir, free.unwrap_or(DAMAGED_MAX));
        fs::rename(&path, &target)?;
        for more in ["-wal", "-shm"] {
            // Without its database it means nothing, and may not be there.
            let _ = fs::remove_file(dir.join(format!("{FILE_NAME}{more}")));
        }
        Ok(target)
    }

    /// What was set aside and is still there, with when, in milliseconds since 1970.
    pub fn damaged(dir: &Path) -> Vec<(PathBuf, i64)> {
        let all = (1..=DAMAGED_MAX).map(|n| damaged_path(dir, n));
        all.filter_map(|path| {
            // A move changes this time and no other.
            let since_s = fs::metadata(&path).ok()?.ctime();
            Some((path, since_s.saturating_mul(1_000)))
        })
        .collect()
    }

    /// The last hour.
    ///
    /// # Errors
    /// The database's own.
    pub fn restore(&self, now_s: i64) -> Result<Restored> {
        let mut restored = Restored::default();
        let mut query = self.db.prepare(
            "SELECT tier, scope, start_s, bytes FROM blocks WHERE tier <= 1 AND start_s >= ?1 \
             AND start_s <= ?3 AND length(bytes) <= ?4 ORDER BY start_s DESC LIMIT ?2",
        )?;
        let from_s = now_s - Tier::Seconds.keep_s();
        let mut rows = query.query(params![from_s, RESTORED_MAX, now_s, PIECE_BYTES_MAX])?;
        while let Some(row) = rows.next()? {
            let (tier, key): (i64, String) = (row.get(0)?, row.get(1)?);
            let scope = Scope::from_key(&key);
            if let Some(scope) = scope.filter(|s| Tier::finest(s).number() == tier) {
                let bytes: Vec<u8> = row.get(3)?;
                restored.blocks.push((scope, row.get(2)?, bytes.into()));
            }
        }
        let mut query = self.db.prepare(
            "SELECT bytes FROM journal WHERE length(bytes) <= ?2 ORDER BY start_s LIMIT ?1",
        )?;
        let mut rows = query.query(params![RESTORED_MAX, PIECE_BYTES_MAX])?;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            restored.batches.push(Batch::decode(&bytes));
        }
        Ok(restored)
    }

    /// # Errors
    /// The database's own; nothing of it is written then.
    pub fn write(&mut self, write: &Write) -> Result<()> {
        let transaction = self.db.transaction()?;
        match write {
            Write::Batch { start_s, bytes } => {
                let insert = "INSERT OR REPLACE INTO journal VALUES (?1, ?2)";
                transaction.execute(insert, params![start_s, bytes])?;
            }
            Write::Chapter { start_s, blocks } => {
                for stored in blocks {
                    put(&transaction, stored)?;
                }
                let delete = "DELETE FROM journal WHERE start_s >= ?1 AND start_s < ?2";
                transaction.execute(delete, params![start_s, start_s + CHAPTER_S])?;
            }
        }
        transaction.commit()
    }

    /// All of them or none.
    ///
    /// # Errors
    /// The database's own; nothing of it is written then.
    pub fn events_at_once<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<()> {
        let transaction = self.db.transaction()?;
        for event in events {
            transaction
                .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    event.time_ms,
                    event.app,
                    event.worker,
                    event.kind,
                    event.text
                ])?;
        }
        transaction.commit()
    }

    /// As a disk of so many pages would be; `None`: as it is.
    #[cfg(test)]
    pub fn limit_pages(&self, pages: Option<u32>) -> Result<()> {
        let pages = pages.unwrap_or(1 << 30);
        self.db
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
    }

    /// The newest [`EVENTS_MAX`] of a span, the oldest first.
    ///
    /// # Errors
    /// The database's own.
    pub fn events(&self, app: &str, from_ms: i64, to_ms: i64) -> Result<Vec<Event>> {
        let mut query = self.db.prepare(
            "SELECT time_ms, app, worker, kind, text FROM events \
             WHERE time_ms >= ?1 AND time_ms <= ?2 AND (?3 = '' OR app = ?3) \
             ORDER BY time_ms DESC LIMIT ?4",
        )?;
        let rows = query.query_map(params![from_ms, to_ms, app, EVENTS_MAX], |row| {
            Ok(Event {
                time_ms: row.get(0)?,
                app: row.get(1)?,
                worker: row.get(2)?,
                kind: row.get(3)?,
                text: row.get(4)?,
            })
        })?;
        let mut events = rows.collect::<Result<Vec<Event>>>()?;
        events.reverse();
        Ok(events)
    }

    /// Blocks of a thing that begin in a span, the oldest first.
    ///
    /// # Errors
    /// The database's own.
    pub fn blocks(
        &self,
        tier: Tier,
        scope: &Scope,
        span_s: std::ops::Range<i64>,
    ) -> Result<Vec<(i64, Vec<u8>)>> {
        let mut query = self.db.prepare_cached(
            "SELECT start_s, bytes FROM blocks \
             WHERE tier = ?1 AND scope = ?2 AND start_s >= ?3 AND start_s < ?4 \
             AND length(bytes) <= ?6 ORDER BY start_s LIMIT ?5",
        )?;
        let values = params![
            tier.number(),
            scope.key(),
            span_s.start,
            span_s.end,
            BLOCKS_MAX,
            PIECE_BYTES_MAX
        ];
        let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Things with a key that begins so.
    ///
    /// # Errors
    /// The database's own.
    pub fn scopes(&self, tier: Tier, prefix: &str, from_s: i64) -> Result<Vec<Scope>> {
        let mut query = self.db.prepare_cached(
            "SELECT DISTINCT scope FROM blocks \
             WHERE tier = ?1 AND substr(scope, 1, length(?2)) = ?2 AND start_s >= ?3 LIMIT ?4",
        )?;
        let values = params![tier.number(), prefix, from_s, SCOPES_MAX];
        let keys = query.query_map(values, |row| row.get::<_, String>(0))?;
        let keys = keys.collect::<Result<Vec<String>>>()?;
        Ok(keys.iter().filter_map(|key| Scope::from_key(key)).collect())
    }

    /// Drops what is too old, then the finest and oldest until it fits into `max_bytes`.
    ///
    /// # Errors
    /// The database's own.
    pub fn trim(&self, now_s: i64, max_bytes: u64) -> Result<()> {
        for tier in Tier::ALL {
            let oldest = now_s - tier.keep_s() - tier.block_s();
            let delete = "DELETE FROM blocks WHERE tier = ?1 AND start_s < ?2";
            self.db.execute(delete, params![tier.number(), oldest])?;
        }
        let unread = "DELETE FROM journal WHERE start_s < ?1 OR start_s > ?2";
        let believed = params![now_s - Tier::Minutes.keep_s(), now_s + LATER_S];
        self.db.execute(unread, believed)?;
        let oldest_ms = now_s * 1_000 - EVENTS_KEEP_MS;
        self.db.execute(
            "DELETE FROM events WHERE time_ms < ?1 \
             OR rowid <= (SELECT max(rowid) FROM events) - ?2",
            params![oldest_ms, EVENTS_KEPT],
        )?;
        for _ in 0..DROPS_MAX {
            if self.used_bytes()? <= max_bytes || !self.drop_oldest()? {
                break;
            }
        }
        self.db.execute_batch("PRAGMA incremental_vacuum")
    }

    /// False: there is none.
    fn drop_oldest(&self) -> Result<bool> {
        for tier in Tier::ALL {
            let until: Option<i64> = self
                .db
                .query_row(
                    "SELECT max(start_s) FROM (SELECT start_s FROM blocks WHERE tier = ?1 \
                     ORDER BY start_s LIMIT ?2)",
                    params![tier.number(), DROPPED_AT_ONCE],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            if let Some(until) = until {
                let delete = "DELETE FROM blocks WHERE tier = ?1 AND start_s <= ?2";
                self.db.execute(delete, params![tier.number(), until])?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// # Errors
    /// The database's own.
    pub fn used_bytes(&self) -> Result<u64> {
        let number =
            |pragma: &str| -> Result<i64> { self.db.query_row(pragma, [], |row| row.get(0)) };
        let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
        let bytes = pages * number("PRAGMA page_size")?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

/// What is there already is overlaid.
fn put(db: &Connection, stored: &Stored) -> Result<()> {
    let key = params![stored.tier.number(), stored.scope, stored.start_s];
    let known: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM blocks WHERE tier = ?1 AND scope = ?2 AND start_s = ?3")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    let known = known.and_then(|bytes| Block::decode(&bytes, |_| true, true));
    let bytes: Vec<u8> = if known.is_none() && stored.place == 0 {
        stored.bytes.to_vec()
    } else {
        let mut whole = known.unwrap_or_default();
        if let Some(fresh) = Block::decode(&stored.bytes, |_| true, true) {
            whole.overlay(stored.place, &fresh);
        }
        whole.encode()
    };
    db.prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            stored.tier.number(),
            stored.scope,
            stored.start_s,
            bytes
        ])?;
    Ok(())
}
