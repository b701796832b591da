//! nginx's configuration to a [`GatewaySpec`].
//!
//! ```text
//! file ──► lexer ──► tree (with its includes) ──► server ──► location ──► Route
//!                                        scope: what each level inherits ──┘
//! ```
//!
//! nginx's blocks inherit from those around them; [`scope::Scope`] finds the directive that holds
//! at a place, so each translation asks for what it needs where it needs it. A directive is
//! translated, or not needed, or it becomes a [`Note`]. Everything is bounded, and nothing of the
//! file is run.
//!
//! Absent: `stream`, `mail`, FastCGI and its kin, scripts.

mod access;
mod cache;
mod files;
mod headers;
mod known;
mod lexer;
mod listen;
mod location;
mod note;
mod pattern;
mod reply;
mod rewrite;
mod scope;
mod server;
mod settings;
mod tree;
mod upstream;
mod value;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use gateway_spec::GatewaySpec;

use crate::fs::FileSystem;
use crate::gateway::to_toml;
use crate::problem::Problem;

pub use note::{Note, NoteKind};

use note::Notes;
use scope::Scope;
use tree::{Directive, Tree};

/// What became of a file.
#[derive(Clone, Debug)]
pub struct Imported {
    pub spec: GatewaySpec,
    /// In the order of the files.
    pub notes: Vec<Note>,
    /// Names of directives that Pando has no need of, each once.
    pub not_needed: Vec<String>,
}

/// All that is known while one configuration is translated.
struct Import<'t> {
    tree: &'t Tree,
    notes: Notes,
    upstreams: BTreeMap<&'t str, &'t Directive>,
    /// Zones of limits by their names: key and rate.
    request_zones: BTreeMap<&'t str, &'t Directive>,
    connection_zones: BTreeMap<&'t str, &'t Directive>,
    cache_zones: BTreeMap<&'t str, &'t Directive>,
    /// Variables of a `map $http_upgrade $connection_upgrade`.
    upgrade_maps: Vec<&'t str>,
}

/// Reads the file at `path` (absolute) and all that it includes.
///
/// # Errors
/// The file cannot be read, or it is not nginx's syntax.
pub fn import(path: &Path, fs: &dyn FileSystem) -> Result<Imported, Box<Problem>> {
    let tree = tree::read(path, fs)?;
    let http: &[Directive] = match tree.find("http") {
        Some(block) => block.inner(),
        None => &tree.directives,
    };
    let mut import = Import {
        tree: &tree,
        notes: Notes::default(),
        upstreams: BTreeMap::new(),
        request_zones: BTreeMap::new(),
        connection_zones: BTreeMap::new(),
        cache_zones: BTreeMap::new(),
        upgrade_maps: Vec::new(),
    };
    if tree.find("http").is_some() {
        import.top_level();
    }
    import.definitions(http);
    let mut spec = GatewaySpec::default();
    settings::read(&mut import, &tree.directives, http, &mut spec);
    server::read_all(&mut import, Scope::new(http), &mut spec);
    import.unknown(http, known::Context::Http);
    access::forget_single_zones(&mut spec);
    let Import { notes, .. } = import;
    let (notes, not_needed) = notes.finish(&tree);
    Ok(Imported {
        spec,
        notes,
        not_needed,
    })
}

impl<'t> Import<'t> {
    fn top_level(&mut self) {
        let tree = self.tree;
        let others = tree.directives.iter().filter(|one| one.name != "http");
        let others: Vec<&Directive> = others.collect();
        for directive in others {
            self.unknown(std::slice::from_ref(directive), known::Context::Main);
        }
    }

    fn definitions(&mut self, http: &'t [Directive]) {
        for directive in http {
            let Some(first) = directive.args.first() else {
                continue;
            };
            match directive.name.as_str() {
                "upstream" => {
                    self.upstreams.insert(first, directive);
                }
                "limit_req_zone" => zone(directive, &mut self.request_zones),
                "limit_conn_zone" => zone(directive, &mut self.connection_zones),
                "proxy_cache_path" => {
                    let keys = directive
                        .args
                        .iter()
                        .find_map(|arg| arg.strip_prefix("keys_zone="));
                    let name = keys.and_then(|keys| keys.split(':').next());
                    self.cache_zones.extend(name.map(|name| (name, directive)));
                }
                "map" if first == "$http_upgrade" => {
                    self.upgrade_maps
                        .extend(directive.args.get(1).map(String::as_str));
                }
                "map" => self.notes.untranslated(
                    directive,
                    "Pando has no variables of its own; routes match methods and headers instead",
                ),
                _ => {}
            }
        }
    }

    /// Tells what of a block is neither translated nor needless.
    fn unknown(&mut self, block: &'t [Directive], context: known::Context) {
        for directive in block {
            if directive.name == "include" && !directive.arg(0).ends_with("mime.types") {
                self.notes.untranslated(directive, "there is no such file");
            }
            match known::look_up(&directive.name, context) {
                known::Fate::Translated => {}
                known::Fate::NotNeeded => self.notes.not_needed(directive),
                known::Fate::Untranslated(why) => self.notes.untranslated(directive, why),
            }
        }
    }
}

/// `zone=NAME:SIZE` among the arguments.
fn zone<'t>(directive: &'t Directive, zones: &mut BTreeMap<&'t str, &'t Directive>) {
    let zone = directive
        .args
        .iter()
        .find_map(|arg| arg.strip_prefix("zone="));
    let name = zone.and_then(|zone| zone.split(':').next());
    zones.extend(name.map(|name| (name, directive)));
}

impl Imported {
    /// The pando.toml, with what needs a person's eye as comments at its top.
    pub fn to_toml(&self, from: &Path) -> String {
        let mut out = format!(
            "# From {} by `pando import nginx`.\n",
            one_line(&from.display().to_string())
        );
        for (kind, title) in [
            (
                NoteKind::Untranslated,
                "Not translated: look at each of these.",
            ),
            (
                NoteKind::Differs,
                "Translated, but not the same in every way.",
            ),
        ] {
            let notes: Vec<&Note> = self.notes.iter().filter(|note| note.kind == kind).collect();
            if notes.is_empty() {
                continue;
            }
            let _ = writeln!(out, "#\n# {title}");
            for note in notes {
                let _ = writeln!(out, "#   {}", one_line(&note.to_string()));
            }
        }
        if !self.not_needed.is_empty() {
            let _ = writeln!(
                out,
                "#\n# Not needed here: {}.",
                one_line(&self.not_needed.join(", "))
            );
        }
        out.push('\n');
        out.push_str(&to_toml(&self.spec));
        out
    }
}

/// A comment ends with its line, and TOML takes no control characters in it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
