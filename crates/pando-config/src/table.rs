//! Typed reading of TOML, where everything that is wrong becomes a problem with its place.

use std::ops::RangeInclusive;

use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::problem::{Place, Refusal, Report, did_you_mean};
use crate::units;

/// A table and what it is called in messages: `app.api`, `app.api.health`.
pub(crate) struct Table<'t> {
    inner: &'t DeTable<'t>,
    pub title: String,
    pub place: Place,
}

/// One value, its key's place and its own.
#[derive(Clone)]
pub(crate) struct Value<'t> {
    inner: &'t DeValue<'t>,
    pub key: &'t str,
    pub key_place: Place,
    pub place: Place,
}

impl<'t> Table<'t> {
    pub fn new(inner: &'t DeTable<'t>, title: impl Into<String>, place: Place) -> Self {
        Self {
            inner,
            title: title.into(),
            place,
        }
    }

    pub fn get(&self, key: &str) -> Option<Value<'t>> {
        let (key, value) = self.inner.get_key_value(key)?;
        Some(Value {
            inner: value.get_ref(),
            key: key.get_ref(),
            key_place: Place::Span(key.span()),
            place: Place::Span(value.span()),
        })
    }

    /// All values in the order of the file.
    pub fn values(&self) -> Vec<Value<'t>> {
        let mut entries: Vec<_> = self.inner.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .filter_map(|(key, _)| self.get(key.get_ref()))
            .collect()
    }

    /// Reports every key that is not `known`; `foreign` explains keys that other tools or later
    /// versions have.
    pub fn only(&self, known: &[&str], foreign: fn(&str) -> Option<Refusal>, report: &mut Report) {
        for value in self.values().iter().filter(|v| !known.contains(&v.key)) {
            let what = format!("unknown key `{}` in [{}]", value.key, self.title);
            let refusal = foreign(value.key).unwrap_or_else(|| {
                let fix = match did_you_mean(value.key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("remove it; the keys here are {}", known.join(", ")),
                };
                Refusal::new(
                    what,
                    "a key that is not known would be ignored silently",
                    fix,
                )
            });
            report.error(&value.key_place, refusal);
        }
    }
}

/// For [`Table::only`] where no other tool's keys are explained.
pub(crate) fn nothing_foreign(_key: &str) -> Option<Refusal> {
    None
}

impl<'t> Value<'t> {
    fn wrong_type(&self, wanted: &str, example: &str, report: &mut Report) {
        report.error(
            &self.place,
            Refusal::new(
                format!("`{}` is {}", self.key, kind(self.inner)),
                format!("it must be {wanted}"),
                format!("write it like `{} = {example}`", self.key),
            ),
        );
    }

    pub fn is_str(&self) -> bool {
        self.inner.is_str()
    }

    pub fn is_bool(&self) -> bool {
        self.inner.is_bool()
    }

    pub fn is_table(&self) -> bool {
        self.inner.is_table()
    }

    pub fn is_integer(&self) -> bool {
        self.inner.is_integer()
    }

    /// A string that is not empty and has no NUL.
    pub fn string(&self, example: &str, report: &mut Report) -> Option<&'t str> {
        let Some(text) = self.inner.as_str() else {
            self.wrong_type("a string", example, report);
            return None;
        };
        report.take(&self.place, check_string(self.key, text))
    }

    pub fn boolean(&self, report: &mut Report) -> Option<bool> {
        let value = self.inner.as_bool();
        if value.is_none() {
            self.wrong_type("true or false, without quotes", "true", report);
        }
        value
    }

    pub fn integer(
        &self,
        range: RangeInclusive<i64>,
        example: &str,
        report: &mut Report,
    ) -> Option<i64> {
        let Some(integer) = self.inner.as_integer() else {
            self.wrong_type("a whole number", example, report);
            return None;
        };
        let value = to_i64(integer).filter(|value| range.contains(value));
        if value.is_none() {
            let why = format!("it must be from {} to {}", range.start(), range.end());
            let what = format!("`{}` is {integer}", self.key);
            let fix = format!("write it like `{} = {example}`", self.key);
            report.error(&self.place, Refusal::new(what, why, fix));
        }
        value
    }

    pub fn table(&self, title: &str, example: &str, report: &mut Report) -> Option<Table<'t>> {
        let Some(inner) = self.inner.as_table() else {
            self.wrong_type("a table", example, report);
            return None;
        };
        Some(Table::new(inner, title, self.key_place.clone()))
    }

    /// The strings of a list, each with its place; a single string is a list of one.
    pub fn strings(&self, example: &str, report: &mut Report) -> Option<Vec<(&'t str, Place)>> {
        if self.inner.is_str() {
            return self
                .string(example, report)
                .map(|text| vec![(text, self.place.clone())]);
        }
        let items = self.items().or_else(|| {
            self.wrong_type("a string or a list of strings", example, report);
            None
        })?;
        let mut strings = Vec::new();
        let mut sound = true;
        for item in items {
            let place = Place::Span(item.span());
            let Some(text) = item.get_ref().as_str() else {
                let what = format!("`{}` has {} in its list", self.key, kind(item.get_ref()));
                let fix = format!("write it like `{} = {example}`", self.key);
                report.error(&place, Refusal::new(what, "all items must be strings", fix));
                sound = false;
                continue;
            };
            if text.contains('\0') {
                report.error(&place, has_nul(self.key));
                sound = false;
            }
            strings.push((text, place));
        }
        sound.then_some(strings)
    }

    /// The whole numbers of a list.
    pub fn integers(&self, range: RangeInclusive<i64>, report: &mut Report) -> Option<Vec<i64>> {
        let example = "[0, 143]";
        let items = self.items().or_else(|| {
            self.wrong_type("a list of whole numbers", example, report);
            None
        })?;
        let mut numbers = Vec::new();
        for item in items {
            let number = item
                .get_ref()
                .as_integer()
                .and_then(to_i64)
                .filter(|n| range.contains(n));
            if number.is_none() {
                let what = format!("`{}` has an item that is no such number", self.key);
                let why = format!("all must be from {} to {}", range.start(), range.end());
                let fix = format!("write it like `{} = {example}`", self.key);
                report.error(&Place::Span(item.span()), Refusal::new(what, why, fix));
            }
            numbers.extend(number);
        }
        Some(numbers)
    }

    fn items(&self) -> Option<&'t DeArray<'t>> {
        self.inner.as_array()
    }

    pub fn is_list(&self) -> bool {
        self.inner.is_array()
    }

    /// Each item of a list as a value of its own, at its own place; what is no list is its own
    /// only item.
    pub fn each(&self) -> Vec<Self> {
        let Some(items) = self.items() else {
            return vec![self.clone()];
        };
        let value = |item: &'t toml::Spanned<DeValue<'t>>| Self {
            inner: item.get_ref(),
            key: self.key,
            key_place: Place::Span(item.span()),
            place: Place::Span(item.span()),
        };
        items.iter().map(value).collect()
    }

    /// A string that may be empty.
    pub fn text(&self, example: &str, report: &mut Report) -> Option<&'t str> {
        let Some(text) = self.inner.as_str() else {
            self.wrong_type("a string", example, report);
            return None;
        };
        if text.contains('\0') {
            report.error(&self.place, has_nul(self.key));
            return None;
        }
        Some(text)
    }

    /// A share from 0 to 1: `0.2`, `1` or `"20%"`.
    pub fn share(&self, report: &mut Report) -> Option<f64> {
        let share = match self.inner {
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(number) => to_i64(number).map(|n| n as f64),
            DeValue::String(text) => units::percent(text),
            DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        let sound = share.filter(|share| (0.0..=1.0).contains(share));
        if sound.is_none() {
            let what = format!("`{}` is not a share", self.key);
            let fix = format!("write it like `{} = 0.2` or \"20%\"", self.key);
            let refusal = Refusal::new(what, "a share is a number from 0 to 1", fix);
            report.error(&self.place, refusal);
        }
        sound
    }

    /// As [`Value::duration_ms`], with days and up to ten years.
    pub fn long_duration_ms(&self, report: &mut Report) -> Option<u64> {
        let text = self.with_unit("a duration in quotes", "\"30d\"", report)?;
        report.take(&self.place, units::long_duration_ms(&text))
    }

    /// A duration like `"30s"`, not zero unless `zero_is_fine`.
    pub fn duration_ms(&self, zero_is_fine: bool, report: &mut Report) -> Option<u64> {
        let text = self.with_unit("a duration in quotes", "\"30s\"", report)?;
        let ms = report.take(&self.place, units::duration_ms(&text))?;
        if ms == 0 && !zero_is_fine {
            report.error(&self.place, zero(self.key));
            return None;
        }
        Some(ms)
    }

    /// A size like `"512M"`.
    pub fn size_bytes(&self, report: &mut Report) -> Option<u64> {
        let text = self.with_unit("a size in quotes", "\"512M\"", report)?;
        report.take(&self.place, units::size_bytes(&text))
    }

    /// The text of a string, or of a bare number so that it is refused for its missing unit.
    fn with_unit(&self, wanted: &str, example: &str, report: &mut Report) -> Option<String> {
        match self.inner {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong_type(wanted, example, report);
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        let text = self.string(&format!("\"{}\"", choices[0].0), report)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            report.error(&self.place, not_a_choice(self.key, text, &words));
        }
        found
    }

    /// The value of an environment variable: a string, number or boolean as text.
    pub fn scalar(&self, report: &mut Report) -> Option<String> {
        match self.inner {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => {
                Some(to_i64(number).map_or_else(|| number.to_string(), |n| n.to_string()))
            }
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type("a string, a number or a boolean", "\"text\"", report);
                None
            }
        }
    }
}

pub(crate) fn not_a_choice(key: &str, text: &str, words: &[&str]) -> Refusal {
    let fix = match did_you_mean(text, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("use \"{}\"", words[0]),
    };
    let why = format!("it is one of {}", words.join(", "));
    Refusal::new(format!("`{key}` is \"{text}\""), why, fix)
}

pub(crate) fn zero(key: &str) -> Refusal {
    Refusal::new(
        format!("`{key}` is zero"),
        "no time at all means that it always fails",
        "give it a time, or remove the key for the default",
    )
}

fn has_nul(key: &str) -> Refusal {
    let what = format!("`{key}` has a NUL character");
    Refusal::new(what, "no path, name or argument can hold one", "remove it")
}

fn check_string<'t>(key: &str, text: &'t str) -> Result<&'t str, Refusal> {
    if text.contains('\0') {
        return Err(has_nul(key));
    }
    if text.trim().is_empty() {
        let fix = "give it a value, or remove the key";
        return Err(Refusal::new(
            format!("`{key}` is empty"),
            "an empty string says nothing",
            fix,
        ));
    }
    Ok(text)
}

fn to_i64(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
