//! From other programs' configuration to a gateway. What cannot be said in pando.toml is listed,
//! never dropped silently.

mod nginx;

pub use nginx::{Imported, Note, NoteKind, import as nginx};
