//! TOML values as text.

use crate::units;

/// A list whose text is longer than this has a line for each item.
const MAX_LIST_CHARS: usize = 100;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Text(String),
    /// Written as it is in a file, as stars in a plan.
    Secret(String),
    Number(u64),
    Share(f64),
    Bool(bool),
    List(Vec<Item>),
    Table(Vec<(String, Item)>),
}

impl Item {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn duration(ms: u64) -> Self {
        Self::Text(units::show_duration(ms))
    }

    pub fn size(bytes: u64) -> Self {
        Self::Text(units::show_size(bytes))
    }

    pub fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// On one line, secrets shown.
    pub fn shown(&self) -> String {
        self.print(true)
    }

    /// On one line, secrets as stars.
    pub fn masked(&self) -> String {
        self.print(false)
    }

    /// Long lists with a line for each item.
    pub fn in_lines(&self) -> String {
        let line = self.shown();
        match self {
            Self::List(items) if line.chars().count() > MAX_LIST_CHARS => {
                let items: String = items
                    .iter()
                    .map(|item| format!("  {},\n", item.shown()))
                    .collect();
                format!("[\n{items}]")
            }
            Self::Text(_)
            | Self::Secret(_)
            | Self::Number(_)
            | Self::Share(_)
            | Self::Bool(_)
            | Self::List(_)
            | Self::Table(_) => line,
        }
    }

    fn print(&self, secrets: bool) -> String {
        match self {
            Self::Text(text) => string(text),
            Self::Secret(text) if secrets => string(text),
            Self::Secret(_) => "***".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Share(share) => format!("{share:?}"),
            Self::Bool(value) => value.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.print(secrets)).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(keys) if keys.is_empty() => "{}".to_owned(),
            Self::Table(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, item)| format!("{} = {}", key(name), item.print(secrets)))
                    .collect();
                format!("{{ {} }}", keys.join(", "))
            }
        }
    }
}

/// A bare key where that is possible.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// As a literal where escapes would make it hard to read, such as a regular expression.
fn string(text: &str) -> String {
    let hard = text.contains(['\\', '"']);
    let literal = !text.contains('\'') && !text.chars().any(char::is_control);
    if hard && literal {
        format!("'{text}'")
    } else {
        quoted(text)
    }
}

/// A basic string (TOML 1.0, section String).
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Keys that differ from what is so by default.
#[derive(Default)]
pub(super) struct Changed(pub Vec<(String, Item)>);

impl Changed {
    pub fn push(&mut self, key: &str, item: Item) {
        self.0.push((key.to_owned(), item));
    }

    pub fn if_not<T: PartialEq>(
        &mut self,
        key: &str,
        value: &T,
        default: &T,
        item: impl FnOnce(&T) -> Item,
    ) {
        if value != default {
            self.push(key, item(value));
        }
    }

    pub fn some<T>(&mut self, key: &str, value: Option<&T>, item: impl FnOnce(&T) -> Item) {
        if let Some(value) = value {
            self.push(key, item(value));
        }
    }

    pub fn duration(&mut self, key: &str, value: u64, default: u64) {
        self.if_not(key, &value, &default, |ms| Item::duration(*ms));
    }

    pub fn size(&mut self, key: &str, value: u64, default: u64) {
        self.if_not(key, &value, &default, |bytes| Item::size(*bytes));
    }

    pub fn number(&mut self, key: &str, value: impl Into<u64>, default: impl Into<u64>) {
        self.if_not(key, &value.into(), &default.into(), |n| Item::Number(*n));
    }

    pub fn boolean(&mut self, key: &str, value: bool, default: bool) {
        self.if_not(key, &value, &default, |value| Item::Bool(*value));
    }

    pub fn share(&mut self, key: &str, value: f64, default: f64) {
        self.if_not(key, &value, &default, |share| Item::Share(*share));
    }

    pub fn texts(&mut self, key: &str, value: &[String], default: &[String]) {
        if value != default {
            self.push(key, Item::texts(value));
        }
    }

    pub fn text(&mut self, key: &str, value: Option<&String>) {
        self.some(key, value, |text| Item::text(text.as_str()));
    }

    pub fn path(&mut self, key: &str, value: Option<&std::path::PathBuf>) {
        self.some(key, value, |path| Item::text(path.display().to_string()));
    }

    pub fn table(self) -> Item {
        Item::Table(self.0)
    }

    /// `true` where nothing differs.
    pub fn table_or_true(self) -> Item {
        if self.0.is_empty() {
            Item::Bool(true)
        } else {
            self.table()
        }
    }
}
