//! What a person must look at after an import.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::tree::{Directive, Place, Tree};

/// Characters of a directive that a note shows.
const MAX_SHOWN: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// It is not in the result.
    Untranslated,
    /// It is, but does not do the same in every way.
    Differs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    pub file: PathBuf,
    /// 1-based.
    pub line: usize,
    /// The directive as it was written.
    pub what: String,
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            what,
            why,
            ..
        } = self;
        write!(f, "{}:{line}: `{what}`: {why}", file.display())
    }
}

/// Notes in the order of their places, each once however often its directive is inherited.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: BTreeMap<(Place, NoteKind, String), String>,
    not_needed: BTreeSet<String>,
}

impl Notes {
    pub fn untranslated(&mut self, directive: &Directive, why: impl Into<String>) {
        self.add(directive, NoteKind::Untranslated, why.into());
    }

    pub fn differs(&mut self, directive: &Directive, why: impl Into<String>) {
        self.add(directive, NoteKind::Differs, why.into());
    }

    fn add(&mut self, directive: &Directive, kind: NoteKind, why: String) {
        let shown: String = directive.show().chars().take(MAX_SHOWN).collect();
        self.notes.insert((directive.place, kind, why), shown);
    }

    /// A block by all of its head, anything else by its name.
    pub fn not_needed(&mut self, directive: &Directive) {
        let name = match directive.name.as_str() {
            "location" => directive.show(),
            name => name.to_owned(),
        };
        self.not_needed.insert(name);
    }

    pub fn finish(self, tree: &Tree) -> (Vec<Note>, Vec<String>) {
        let note = |((place, kind, why), what): ((Place, NoteKind, String), String)| Note {
            kind,
            file: tree.files[place.file].clone(),
            line: place.line,
            what,
            why,
        };
        let notes = self.notes.into_iter().map(note).collect();
        (notes, self.not_needed.into_iter().collect())
    }
}
