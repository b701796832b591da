//! `pando init`.

use std::fs::OpenOptions;
use std::io::{self, Write};

use clap::Args;
use pando_config::RealFs;

use crate::config;
use crate::context::Context;
use crate::error::{ExpectedError, exit};
use crate::listening;

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Replace a pando.toml that is there
    #[arg(long)]
    force: bool,
    /// Only print it
    #[arg(long)]
    print: bool,
}

pub fn init(args: &InitArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let dir = config::cwd()?;
    let made = pando_config::init(&dir, &RealFs, &listening::in_dir(&dir));
    let path = dir.join(pando_config::FILE_NAME);
    if args.print {
        ctx.out.raw(made.text.as_bytes());
        return Ok(exit::OK);
    }
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .create_new(!args.force)
        .truncate(args.force)
        .open(&path)
        .and_then(|mut file| file.write_all(made.text.as_bytes()));
    written.map_err(|e| match e.kind() == io::ErrorKind::AlreadyExists {
        true => ExpectedError::wrong_call(
            format!("{} is there already", path.display()),
            "it may hold what you wrote",
            "`pando init --print` shows what would be written, --force replaces the file",
        ),
        false => ExpectedError::failed(
            format!("{} cannot be written", path.display()),
            e.to_string(),
            "look at the directory's owner and mode, and at the disk's room",
        ),
    })?;
    if ctx.json {
        ctx.out
            .json(&serde_json::json!({ "file": path, "notes": made.notes }));
    } else {
        ctx.out.line(&format!("Wrote {}.", path.display()));
        ctx.out
            .lines(made.notes.iter().map(|note| format!("  {note}")));
        ctx.out
            .line("`pando plan` shows what it would do, `pando up` does it.");
    }
    Ok(exit::OK)
}
