//! `pando import`: another program's configuration as a pando.toml.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pando_config::RealFs;
use pando_config::import::{self, Imported, NoteKind};

use crate::context::Context;
use crate::error::{ExpectedError, exit};

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// nginx's configuration; what cannot be translated is listed
    Nginx(NginxArgs),
}

#[derive(Debug, Args)]
struct NginxArgs {
    /// nginx.conf, or a file of sites-enabled
    file: PathBuf,
    /// Write the pando.toml here instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long)]
    force: bool,
}

pub fn import(args: &ImportArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    match &args.from {
        From::Nginx(args) => nginx(args, ctx),
    }
}

fn nginx(args: &NginxArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = std::path::absolute(&args.file)?;
    let imported =
        import::nginx(&path, &RealFs).map_err(|problem| ExpectedError::Config(vec![*problem]))?;
    let text = imported.to_toml(&path);
    if ctx.json {
        ctx.out.json(&json(&imported, &text));
    } else if args.output.is_none() {
        ctx.out.raw(text.as_bytes());
    }
    if let Some(output) = &args.output {
        write(output, &text, args.force)?;
    }
    if !ctx.json {
        tell(&imported, args.output.as_deref());
    }
    Ok(exit::OK)
}

fn json(imported: &Imported, text: &str) -> serde_json::Value {
    let notes = imported.notes.iter().map(|note| {
        serde_json::json!({
            "kind": match note.kind {
                NoteKind::Untranslated => "untranslated",
                NoteKind::Differs => "differs",
            },
            "place": format!("{}:{}", note.file.display(), note.line),
            "what": note.what,
            "why": note.why,
        })
    });
    serde_json::json!({
        "toml": text,
        "notes": notes.collect::<Vec<_>>(),
        "not_needed": imported.not_needed,
    })
}

fn write(output: &Path, text: &str, force: bool) -> Result<(), ExpectedError> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .create_new(!force)
        .truncate(force)
        .open(output)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| match e.kind() == io::ErrorKind::AlreadyExists {
        true => ExpectedError::wrong_call(
            format!("{} is there already", output.display()),
            "it may hold what you wrote",
            "name another file with --output, or use --force to replace it",
        ),
        false => ExpectedError::failed(
            format!("{} cannot be written", output.display()),
            e.to_string(),
            "look at the directory's owner and mode, and at the disk's room",
        ),
    })
}

/// To stderr, so that stdout is a pando.toml.
fn tell(imported: &Imported, output: Option<&Path>) {
    let mut text = String::new();
    for (kind, title) in [
        (NoteKind::Untranslated, "not translated"),
        (NoteKind::Differs, "differs"),
    ] {
        for note in imported.notes.iter().filter(|note| note.kind == kind) {
            text.push_str(&format!("{title}: {note}\n"));
        }
    }
    if !imported.not_needed.is_empty() {
        text.push_str(&format!("not needed: {}\n", imported.not_needed.join(", ")));
    }
    if let Some(output) = output {
        let place = output.display();
        text.push_str(&format!(
            "Wrote {place}. `pando gateway check -c {place}` reads it.\n"
        ));
    }
    // A stderr that is closed hears nothing.
    let _ = io::stderr().write_all(text.as_bytes());
}
