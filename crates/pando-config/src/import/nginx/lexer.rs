//! Words, braces and semicolons of nginx's configuration.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word(String),
    Open,
    Close,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// 1-based.
    pub line: usize,
}

/// What is no token, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub what: &'static str,
    pub line: usize,
}

/// A word of a configuration; a longer one is a mistake.
const MAX_WORD: usize = 64 * 1024;

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Broken> {
    let mut lexer = Lexer {
        chars: text.chars().peekable(),
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
}

impl Lexer<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn next(&mut self) -> Result<Option<Token>, Broken> {
        loop {
            let Some(&c) = self.chars.peek() else {
                return Ok(None);
            };
            let line = self.line;
            let kind = match c {
                c if c.is_whitespace() => {
                    self.take();
                    continue;
                }
                '#' => {
                    while self.chars.peek().is_some_and(|c| *c != '\n') {
                        self.take();
                    }
                    continue;
                }
                '{' | '}' | ';' => {
                    self.take();
                    match c {
                        '{' => Kind::Open,
                        '}' => Kind::Close,
                        _ => Kind::End,
                    }
                }
                '"' | '\'' => Kind::Word(self.quoted(c, line)?),
                _ => Kind::Word(self.bare(line)?),
            };
            return Ok(Some(Token { kind, line }));
        }
    }

    fn quoted(&mut self, quote: char, line: usize) -> Result<String, Broken> {
        self.take();
        let mut word = String::new();
        loop {
            match self.take() {
                None => return Err(broken("a quote is never closed", line)),
                Some(c) if c == quote => return Ok(word),
                Some('\\') => self.escape(&mut word),
                Some(c) => word.push(c),
            }
            if word.len() > MAX_WORD {
                return Err(broken("a word is longer than 64 KiB", line));
            }
        }
    }

    /// Ends before a space, a brace or a semicolon; `${name}` is part of it.
    fn bare(&mut self, line: usize) -> Result<String, Broken> {
        let mut word = String::new();
        while let Some(&c) = self.chars.peek() {
            match c {
                c if c.is_whitespace() => break,
                ';' => break,
                '{' if word.ends_with('$') => {
                    while let Some(c) = self.take() {
                        word.push(c);
                        if c == '}' || word.len() > MAX_WORD {
                            break;
                        }
                    }
                }
                '{' => break,
                '\\' => {
                    self.take();
                    self.escape(&mut word);
                }
                c => {
                    self.take();
                    word.push(c);
                }
            }
            if word.len() > MAX_WORD {
                return Err(broken("a word is longer than 64 KiB", line));
            }
        }
        Ok(word)
    }

    /// What stands behind a backslash: quotes and backslashes lose it, `\t` and its kin become
    /// characters, and anything else keeps it, as regular expressions need.
    fn escape(&mut self, word: &mut String) {
        match self.take() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => word.extend(['\\', c]),
            None => word.push('\\'),
        }
    }
}

fn broken(what: &'static str, line: usize) -> Broken {
    Broken { what, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let show = |token: Token| match token.kind {
            Kind::Word(word) => word,
            Kind::Open => "{".into(),
            Kind::Close => "}".into(),
            Kind::End => ";".into(),
        };
        tokens(text).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn words_and_marks() {
        for (text, expect) in [
            ("", vec![]),
            ("a b;", vec!["a", "b", ";"]),
            ("a{b c;}", vec!["a", "{", "b", "c", ";", "}"]),
            ("a # b;\nc;", vec!["a", "c", ";"]),
            ("a#b;", vec!["a#b", ";"]),
            (
                r#"a "b c" 'd "e"' "f\"g";"#,
                vec!["a", "b c", "d \"e\"", "f\"g", ";"],
            ),
            (r"a \.(js|css)$ \d;", vec!["a", r"\.(js|css)$", r"\d", ";"]),
            ("a ${b}c x$d;", vec!["a", "${b}c", "x$d", ";"]),
            ("a {1,2};", vec!["a", "{", "1,2}", ";"]),
            (r"a\ b;", vec![r"a\ b", ";"]),
        ] {
            assert_eq!(words(text), expect, "{text}");
        }
        assert_eq!(tokens("a\n\"b").unwrap_err().line, 2);
        assert_eq!(tokens("a\nb\n;").unwrap()[1].line, 2);
    }
}
