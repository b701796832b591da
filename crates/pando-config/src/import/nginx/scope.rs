//! What holds at a place: nginx's blocks inherit from those around them.

use super::tree::Directive;

/// The blocks around a place, the outermost first.
#[derive(Clone, Debug)]
pub(super) struct Scope<'t> {
    levels: Vec<&'t [Directive]>,
}

impl<'t> Scope<'t> {
    pub fn new(block: &'t [Directive]) -> Self {
        Self {
            levels: vec![block],
        }
    }

    pub fn inside(&self, block: &'t [Directive]) -> Self {
        let mut levels = self.levels.clone();
        levels.push(block);
        Self { levels }
    }

    /// All directives of a name at the innermost level that has one: nginx replaces lists, it
    /// does not add to them.
    pub fn all(&self, name: &str) -> Vec<&'t Directive> {
        self.all_of(&[name])
    }

    /// Of several names, in order.
    pub fn all_of(&self, names: &[&str]) -> Vec<&'t Directive> {
        let of_level = |level: &&'t [Directive]| -> Vec<&'t Directive> {
            level
                .iter()
                .filter(|one| names.contains(&one.name.as_str()))
                .collect()
        };
        let levels = self.levels.iter().rev();
        levels
            .map(of_level)
            .find(|all| !all.is_empty())
            .unwrap_or_default()
    }

    pub fn one(&self, name: &str) -> Option<&'t Directive> {
        self.all(name).into_iter().next_back()
    }

    /// Its first argument.
    pub fn word(&self, name: &str) -> Option<&'t str> {
        self.one(name)?.args.first().map(String::as_str)
    }

    /// At the innermost level only.
    pub fn own(&self, name: &str) -> Option<&'t Directive> {
        self.levels.last()?.iter().find(|one| one.name == name)
    }

    pub fn block(&self) -> &'t [Directive] {
        self.levels.last().copied().unwrap_or_default()
    }
}
