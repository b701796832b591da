//! Names of apps. They become file names, table cells and arguments, hence the narrow alphabet.

use crate::problem::Refusal;

pub(crate) const MAX_LEN: usize = 64;

/// Words that a command reads as something else than one app.
const RESERVED: [&str; 1] = ["all"];

/// Whether `name` is `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` and not a reserved word.
pub fn is_valid(name: &str) -> bool {
    check(name).is_ok()
}

pub(crate) fn check(name: &str) -> Result<(), Refusal> {
    let why =
        "a name is 1 to 64 letters, digits, `.`, `_` or `-`, and begins with a letter or digit";
    let well_formed = name.len() <= MAX_LEN
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_name_char);
    if !well_formed {
        let fix = format!("call it `{}`", make_valid(name));
        return Err(Refusal::new(
            format!("`{name}` cannot be the name of an app"),
            why,
            fix,
        ));
    }
    if RESERVED.contains(&name) {
        return Err(Refusal::new(
            format!("`{name}` cannot be the name of an app"),
            "`pando stop all` means every app",
            "choose another name",
        ));
    }
    Ok(())
}

/// The nearest valid name: other characters become `-`.
pub fn make_valid(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if is_name_char(c) { c } else { '-' })
        .take(MAX_LEN)
        .collect();
    let plain = plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let plain = plain.trim_end_matches('-');
    if plain.is_empty() {
        "app".to_owned()
    } else if RESERVED.contains(&plain) {
        format!("{plain}-app")
    } else {
        plain.to_owned()
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_a_valid_name() {
        for (text, name) in [
            ("api", "api"),
            ("my app", "my-app"),
            (".hidden", "hidden"),
            ("", "app"),
            ("日本", "app"),
            ("all", "all-app"),
            ("a/b", "a-b"),
        ] {
            assert_eq!(make_valid(text), name);
            assert!(is_valid(&make_valid(text)));
        }
        let long = "x".repeat(65);
        assert!(!is_valid(&long) && is_valid(&make_valid(&long)));
        for bad in ["", "all", "-x", "a b", "a/b", "ü"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
