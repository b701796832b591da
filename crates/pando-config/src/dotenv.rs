//! Files of `KEY=value` lines, as the npm package dotenv reads them, with one difference: a
//! mistake is an error with its place and not a line passed over.
//!
//! ```text
//! # a comment
//! PLAIN=any text up to the end of the line   # a comment needs a space before it
//! export EXPORTED=yes
//! DOUBLE="two\nlines, and ${PLAIN}"
//! SINGLE='taken as it is, $ and \ too'
//! BACKTICK=`as single, but may hold ' and "`
//! MULTILINE="first
//! second"
//! ```
//!
//! `${VAR}` and `${VAR:-default}` are replaced in plain and double-quoted values, first from the
//! lines above, then from the base environment; unset is empty. `\$` is a dollar sign. A `$`
//! without braces stays as it is: passwords have them. Nothing else is expanded, no command is
//! run. A key that comes twice has its last value.

use std::collections::BTreeMap;
use std::path::Path;

use crate::environment;
use crate::problem::{Problem, Refusal, Severity};
use crate::source::Source;

/// A larger file is not one of settings.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// `${VAR}` replaced may make a value grow; the kernel takes 128 KiB a variable.
const MAX_VALUE_BYTES: usize = 128 * 1024;

/// All values together; more than the kernel passes to a program by default.
const MAX_TOTAL_BYTES: usize = 2 * 1024 * 1024;

/// The variables of a dotenv text, or every problem. `path` is for the problems only.
pub fn parse(
    text: &str,
    path: &Path,
    base_env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(path, text);
    let mut reader = Reader {
        text,
        at: 0,
        vars: BTreeMap::new(),
        total: 0,
        base_env,
    };
    let mut problems = Vec::new();
    while reader.skip_blank() {
        if let Err((at, refusal)) = reader.line() {
            if problems.len() < crate::problem::MAX_PROBLEMS {
                problems.push(problem(&source, at, refusal));
            }
            reader.skip_line();
        }
        if reader.total > MAX_TOTAL_BYTES {
            let why = "the kernel refuses to start a program with so large an environment";
            let refusal = Refusal::new(
                "the values are larger than 2 MiB",
                why,
                "keep them in a file",
            );
            problems.push(problem(&source, reader.at, refusal));
            break;
        }
    }
    if problems.is_empty() {
        Ok(reader.vars)
    } else {
        Err(problems)
    }
}

fn problem(source: &Source<'_>, at: usize, refusal: Refusal) -> Problem {
    let (line, column) = source.position(at);
    let Refusal { what, why, fix } = refusal;
    let file = Some(source.path.to_path_buf());
    // No excerpt: these lines hold secrets.
    Problem {
        file,
        line,
        column,
        what,
        why,
        fix,
        severity: Severity::Error,
        excerpt: None,
    }
}

type Refused = (usize, Refusal);

struct Reader<'a> {
    text: &'a str,
    /// The byte where reading goes on.
    at: usize,
    vars: BTreeMap<String, String>,
    /// Bytes of all values read so far.
    total: usize,
    base_env: &'a BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// What is left of this line, without its end.
    fn rest_of_line(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        rest[..end].trim_end_matches('\r')
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// To the next line that says something; `false` at the end.
    fn skip_blank(&mut self) -> bool {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            self.skip_line();
        }
    }

    fn line(&mut self) -> Result<(), Refused> {
        let key = self.key()?;
        let at = self.at;
        let value = self.value()?;
        if value.len() > MAX_VALUE_BYTES {
            let what = format!("the value of `{key}` is longer than 128 KiB");
            let why = "the kernel refuses to start a program with it";
            return Err((
                at,
                Refusal::new(what, why, "keep it in a file and pass the path"),
            ));
        }
        environment::check(key, &value).map_err(|refusal| (at, refusal))?;
        self.total += value.len();
        self.vars.insert(key.to_owned(), value);
        Ok(())
    }

    /// `KEY=` or `export KEY=`; leaves `at` behind the sign.
    fn key(&mut self) -> Result<&'a str, Refused> {
        if let Some(rest) = self.rest().strip_prefix("export")
            && rest.starts_with([' ', '\t'])
        {
            self.at += "export".len();
            self.skip_spaces();
        }
        let start = self.at;
        let line = self.rest_of_line();
        let Some(sign) = line.find('=') else {
            let fix = "write KEY=value, or put a # before a comment";
            return Err((
                start,
                Refusal::new("this line has no `=`", "a line is KEY=value", fix),
            ));
        };
        let key = line[..sign].trim_end();
        let named = !key.starts_with(|c: char| c.is_ascii_digit())
            && !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !named {
            let what = "there is no valid name before the `=`";
            let why =
                "a name is letters, digits, `_`, `.` and `-`, and does not begin with a digit";
            return Err((start, Refusal::new(what, why, "write KEY=value")));
        }
        self.at = start + sign + 1;
        Ok(key)
    }

    fn value(&mut self) -> Result<String, Refused> {
        self.skip_spaces();
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => self.quoted(quote),
            Some(_) | None => {
                let start = self.at;
                let line = self.rest_of_line();
                self.at += line.len();
                self.expand(without_comment(line), start)
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Refused> {
        let start = self.at;
        let inside = &self.text[start + 1..];
        let Some(end) = closing(inside, quote) else {
            let what = format!("the quote {quote} is never closed");
            let why = "a quoted value may go over several lines, up to the next quote of its kind";
            return Err((
                start,
                Refusal::new(what, why, format!("close it with {quote}")),
            ));
        };
        self.at = start + 1 + end + 1;
        let behind = self.rest_of_line().trim_start();
        if !behind.is_empty() && !behind.starts_with('#') {
            let why = "only a comment may follow a quoted value";
            let fix = "quote all of the value, or put a # before the comment";
            return Err((
                self.at,
                Refusal::new("there is text behind the closing quote", why, fix),
            ));
        }
        self.skip_line();
        let inside = inside[..end].replace("\r\n", "\n");
        if quote == '"' {
            self.expand(&unescape(&inside), start)
        } else {
            Ok(inside)
        }
    }

    /// Replaces `${VAR}` and `${VAR:-default}`.
    fn expand(&self, value: &str, at: usize) -> Result<String, Refused> {
        let mut out = String::new();
        let mut rest = value;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            if let Some(before) = before.strip_suffix('\\') {
                out.push_str(before);
                out.push('$');
                rest = &after[1..];
                continue;
            }
            out.push_str(before);
            let Some(inner) = after.strip_prefix("${") else {
                out.push('$');
                rest = &after[1..];
                continue;
            };
            let Some(end) = inner.find('}') else {
                let fix = "close it with }, or write \\${ for the two characters themselves";
                return Err((
                    at,
                    Refusal::new("a `${` is never closed", "`${VAR}` is replaced", fix),
                ));
            };
            out.push_str(self.lookup(&inner[..end]));
            rest = &inner[end + 1..];
            if out.len() > MAX_VALUE_BYTES {
                break;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn lookup<'s>(&'s self, inner: &'s str) -> &'s str {
        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
        let found = self.vars.get(name).or_else(|| self.base_env.get(name));
        found
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .unwrap_or(default)
    }
}

/// The byte of the closing quote; `\"` does not close a double quote.
fn closing(inside: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    None
}

/// A plain value ends at ` #`.
fn without_comment(line: &str) -> &str {
    if line.starts_with('#') {
        return "";
    }
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line[..*at].ends_with([' ', '\t']));
    line[..comment.unwrap_or(line.len())].trim()
}

/// `\n`, `\r`, `\t`, `\"` and `\\` of a double-quoted value; `\$` is left for the expansion.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let base = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        parse(text, Path::new(".env"), &base)
            .map(|vars| vars.into_iter().collect())
            .map_err(|problems| {
                problems
                    .iter()
                    .map(|p| format!("{}:{} {}", p.line, p.column, p.what))
                    .collect()
            })
    }

    fn check(text: &str, expect: &[(&str, &str)]) {
        let got = read(text).unwrap();
        let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn values() {
        check("", &[]);
        check("# only\n\n  # comments\n", &[]);
        check(
            "A=1\nB = two words \nC=",
            &[("A", "1"), ("B", "two words"), ("C", "")],
        );
        check(
            "export A=1\nexport\tB=2\nexportC=3",
            &[("A", "1"), ("B", "2"), ("exportC", "3")],
        );
        check(
            "A=x # note\nB=x#y\nC=# all",
            &[("A", "x"), ("B", "x#y"), ("C", "")],
        );
        check(
            "A='x # $y \\n' # z\nB=`'\"`",
            &[("A", "x # $y \\n"), ("B", "'\"")],
        );
        check("A=\"a\\nb\\t\\\"c\\\" \\\\\"", &[("A", "a\nb\t\"c\" \\")]);
        check(
            "K=\"-----BEGIN\r\nx\r\n-----END\"\r\nL=1\r\n",
            &[("K", "-----BEGIN\nx\n-----END"), ("L", "1")],
        );
        check("A=1\nA=2", &[("A", "2")]);
        check("\u{feff}A=1", &[("A", "1")]);
        check("A=http://x/?a=b&c=d", &[("A", "http://x/?a=b&c=d")]);
        check("a.b-c=1", &[("a.b-c", "1")]);
    }

    #[test]
    fn only_braces_are_expanded() {
        check(
            "A=1\nB=${A}2\nC=\"${A}${B}\"",
            &[("A", "1"), ("B", "12"), ("C", "112")],
        );
        check("A=${HOME}/x", &[("A", "/root/x")]);
        check(
            "A=pa$$word$1\nB=$HOME",
            &[("A", "pa$$word$1"), ("B", "$HOME")],
        );
        check("A='${HOME}'", &[("A", "${HOME}")]);
        check(
            "A=\\${HOME}\nB=\"\\${HOME}\"",
            &[("A", "${HOME}"), ("B", "${HOME}")],
        );
        check(
            "A=${NO}.\nB=${NO:-d}\nC=${HOME:-d}",
            &[("A", "."), ("B", "d"), ("C", "/root")],
        );
        check("A=`$(id)`", &[("A", "$(id)")]);
    }

    #[test]
    fn every_mistake_has_its_place() {
        for (text, expect) in [
            ("A=1\nnonsense\n", vec!["2:1 this line has no `=`"]),
            ("=1", vec!["1:1 there is no valid name before the `=`"]),
            ("1A=1", vec!["1:1 there is no valid name before the `=`"]),
            ("a b=1", vec!["1:1 there is no valid name before the `=`"]),
            ("A=\"x\nB=1", vec!["1:3 the quote \" is never closed"]),
            (
                "A='x' y",
                vec!["1:6 there is text behind the closing quote"],
            ),
            ("A=${B", vec!["1:3 a `${` is never closed"]),
            (
                "NODE_UNIQUE_ID=1",
                vec!["1:16 `NODE_UNIQUE_ID` cannot be set"],
            ),
            (
                "x\ny\n",
                vec!["1:1 this line has no `=`", "2:1 this line has no `=`"],
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expect, "{text}");
        }
    }

    #[test]
    fn a_value_cannot_grow_without_bound() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for i in 1..200 {
            let line = format!("A{i}={}\n", format!("${{A{}}}", i - 1).repeat(10));
            text.push_str(&line);
        }
        assert!(read(&text).is_err());
    }
}
