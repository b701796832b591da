//! What a person is told when something they wrote is wrong: what, where, why, what to do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::source::Source;

/// Problems beyond this many are counted, not listed: the first hundred are enough to work on.
pub const MAX_PROBLEMS: usize = 100;

/// The longest source line that is shown in full, in characters.
const EXCERPT_CHARS: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong. `Display` is plain text in several lines:
///
/// ```text
/// /srv/pando.toml:3:1: error: unknown key `instnaces` in [app.api]
///   |
/// 3 | instnaces = 4
///   | ^^^^^^^^^
///   why: …
///   fix: did you mean `instances`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in; `None` for a flag.
    pub file: Option<PathBuf>,
    /// 1-based; 0 means that there is no place.
    pub line: usize,
    /// 1-based, in characters; 0 means that there is no place.
    pub column: usize,
    pub what: String,
    pub why: String,
    pub fix: String,
    pub severity: Severity,
    /// The source line, where showing it gives no secret away (lines of `.env` files never are).
    pub excerpt: Option<Excerpt>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub text: String,
    /// Characters under which the caret stands, at least 1.
    pub width: usize,
}

impl Problem {
    /// An error that concerns all of a file, not a place in it.
    pub(crate) fn of_file(path: &Path, refusal: Refusal) -> Self {
        let Refusal { what, why, fix } = refusal;
        let file = Some(path.to_path_buf());
        Self {
            file,
            line: 0,
            column: 0,
            what,
            why,
            fix,
            severity: Severity::Error,
            excerpt: None,
        }
    }

    /// `pando.toml:12:9`, `pando.toml`, or nothing.
    pub fn place(&self) -> String {
        match (&self.file, self.line) {
            (None, _) => String::new(),
            (Some(file), 0) => file.display().to_string(),
            (Some(file), line) => format!("{}:{line}:{}", file.display(), self.column),
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.what)?;
        if let Some(excerpt) = &self.excerpt {
            write_excerpt(f, self.line, self.column, excerpt)?;
        }
        for (label, text) in [("why", &self.why), ("fix", &self.fix)] {
            if !text.is_empty() {
                write!(f, "\n  {label}: {text}")?;
            }
        }
        Ok(())
    }
}

fn write_excerpt(
    f: &mut fmt::Formatter<'_>,
    line: usize,
    column: usize,
    excerpt: &Excerpt,
) -> fmt::Result {
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    // Tabs stay tabs in the caret's indent, so that it stands under its character.
    let indent: String = excerpt
        .text
        .chars()
        .take(column.saturating_sub(1))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = "^".repeat(excerpt.width.max(1));
    write!(
        f,
        "\n{gutter} |\n{number} | {}\n{gutter} | {indent}{carets}",
        excerpt.text
    )
}

impl std::error::Error for Problem {}

/// Why a value is refused, before it is known where the value stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub what: String,
    pub why: String,
    pub fix: String,
}

impl Refusal {
    pub fn new(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            fix: fix.into(),
        }
    }
}

/// Where a value stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the source.
    Span(Range<usize>),
    /// A flag of the command line, `--memory`; empty for what is started.
    Flag(&'static str),
}

/// Collects problems, so that all are told at once.
pub(crate) struct Report<'a> {
    source: Option<&'a Source<'a>>,
    problems: Vec<Problem>,
    errors: usize,
    /// Lines that are not TOML: what was read of them is a guess and not worth a problem.
    broken: Vec<usize>,
    /// Lines that hold a secret: they are not shown.
    secret: Vec<usize>,
}

impl<'a> Report<'a> {
    pub fn new(source: Option<&'a Source<'a>>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            errors: 0,
            broken: Vec::new(),
            secret: Vec::new(),
        }
    }

    pub fn error(&mut self, place: &Place, refusal: Refusal) {
        self.add(place, refusal, Severity::Error);
    }

    pub fn warning(&mut self, place: &Place, refusal: Refusal) {
        self.add(place, refusal, Severity::Warning);
    }

    /// Text that is not TOML.
    pub fn syntax(&mut self, span: Range<usize>, refusal: Refusal) {
        self.add(&Place::Span(span.clone()), refusal, Severity::Error);
        self.broken
            .extend(self.source.map(|source| source.position(span.start).0));
    }

    /// Something is not there. Where text was broken it may be there after all.
    pub fn missing(&mut self, place: &Place, refusal: Refusal) {
        if self.broken.is_empty() {
            self.error(place, refusal);
        }
    }

    /// The lines of this place hold a secret: no problem on them shows its line.
    pub fn conceal(&mut self, place: &Place) {
        let (Place::Span(span), Some(source)) = (place, self.source) else {
            return;
        };
        let first = source.position(span.start).0;
        self.secret.extend(first..=source.position(span.end).0);
    }

    /// Takes the value, or the problem of a value that was refused.
    pub fn take<T>(&mut self, place: &Place, result: Result<T, Refusal>) -> Option<T> {
        result.map_err(|refusal| self.error(place, refusal)).ok()
    }

    /// A problem that is already complete, such as one of an env file.
    pub fn push(&mut self, problem: Problem) {
        if problem.is_error() {
            self.errors += 1;
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else if problem.is_error() && !self.problems.iter().any(Problem::is_error) {
            // Warnings must not crowd out the error that explains the refusal.
            self.problems.pop();
            self.problems.push(problem);
        }
    }

    fn add(&mut self, place: &Place, refusal: Refusal, severity: Severity) {
        let Refusal { what, why, fix } = refusal;
        let mut problem = Problem {
            file: None,
            line: 0,
            column: 0,
            what,
            why,
            fix,
            severity,
            excerpt: None,
        };
        match (place, self.source) {
            (Place::Span(span), Some(source)) => {
                let (line, column) = source.position(span.start);
                if self.broken.contains(&line) {
                    return;
                }
                problem.file = Some(source.path.to_path_buf());
                problem.line = line;
                problem.column = column;
                problem.excerpt = excerpt(source, line, column, span);
            }
            (Place::Flag(""), _) => {}
            (Place::Flag(flag), _) => problem.what = format!("{flag}: {}", problem.what),
            (Place::Span(_), None) => {}
        }
        self.push(problem);
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All problems in the order of their places, those of the file itself before those of env
    /// files, errors and warnings together.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        for problem in &mut problems {
            if self.secret.contains(&problem.line) {
                problem.excerpt = None;
            }
        }
        let main = self.source.map(|source| source.path);
        let rank = |p: &Problem| (p.file.as_deref() != main, p.file.clone(), p.line, p.column);
        problems.sort_by_cached_key(rank);
        problems.dedup();
        problems
    }
}

fn excerpt(
    source: &Source<'_>,
    line: usize,
    column: usize,
    span: &Range<usize>,
) -> Option<Excerpt> {
    let text = source.line(line);
    let chars = text.chars().count();
    if chars > EXCERPT_CHARS {
        return None;
    }
    let wanted = source
        .text
        .get(span.clone())
        .map_or(1, |s| s.chars().count());
    let width = wanted.min(chars.saturating_sub(column - 1)).max(1);
    Some(Excerpt {
        text: text.to_owned(),
        width,
    })
}

/// `` did you mean `x`? `` for the nearest of `candidates`, or nothing.
pub(crate) fn did_you_mean<'c>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // Two edits in a short word, a third of a long one: beyond that it is a different word.
    let lowered = typed.to_lowercase();
    let allowed = (typed.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lowered, &c.to_lowercase()), c))
        .filter(|(distance, c)| {
            *distance <= allowed
                || (lowered.len() >= 3 && c.to_lowercase().starts_with(lowered.as_str()))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}
