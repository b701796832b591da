//! Command lines as words, as far as they can be read without a shell.

/// Characters that make a line one for the shell: expansion, redirection, control, globbing.
const SHELL_CHARS: &[char] = &[
    '$', '`', '|', '&', ';', '<', '>', '(', ')', '{', '}', '*', '?', '[', ']', '~', '#', '!', '\n',
    '%',
];

/// Whether the line means something to a shell beyond words and quotes.
pub(crate) fn needs_shell(line: &str) -> bool {
    line.contains(SHELL_CHARS)
}

/// The words of a line, with `'…'`, `"…"` and `\` as in sh; `None` if a quote is left open.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// The word as a shell reads it back.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_-+=:,./".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `K=V` at the start of a command.
pub(crate) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let first = key.chars().next()?;
    let named = (first.is_ascii_alphabetic() || first == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    named.then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_quotes() {
        for (line, words) in [
            ("", vec![]),
            ("  a  b ", vec!["a", "b"]),
            (
                r#"node "my app.js" 'it''s' """#,
                vec!["node", "my app.js", "its", ""],
            ),
            (r#"a\ b "c\"d" "e\n""#, vec!["a b", "c\"d", "e\\n"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for line in ["'", "\"", "a\\", "\"a\\"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn quoting_is_undone_by_splitting() {
        for word in ["", "a", "a b", "it's", "$HOME", "\"", "\\", "a=b"] {
            assert_eq!(split(&quote(word)).unwrap(), [word]);
        }
    }
}
