//! Environments: what of the caller's is passed on, which names are Pando's own, what is secret.

use std::collections::BTreeMap;
use std::path::Path;

use crate::problem::Refusal;

/// Set for each worker by Pando; a value from outside would break the channel to it.
const PANDOS_OWN: [&str; 3] = [
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
];

/// What a shell leaves in the environment about itself.
const SHELL_NOISE: [&str; 3] = ["_", "OLDPWD", "SHLVL"];

fn is_pandos_own(key: &str) -> bool {
    key.starts_with("PANDO_") || PANDOS_OWN.contains(&key)
}

/// The caller's environment without what belongs to Pando (`PANDO_*`, Node's channel variables,
/// so that an app started from inside another app is not taken for its worker) and without what
/// the shell says of itself. PWD, if there, becomes `cwd`.
pub fn clean(env: &BTreeMap<String, String>, cwd: &Path) -> BTreeMap<String, String> {
    let kept = env
        .iter()
        .filter(|(key, _)| !is_pandos_own(key) && !SHELL_NOISE.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()));
    let mut kept: BTreeMap<_, _> = kept.collect();
    if let Some(pwd) = kept.get_mut("PWD") {
        *pwd = cwd.display().to_string();
    }
    kept
}

/// Whether `key = value` can be given to an app.
pub(crate) fn check(key: &str, value: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.contains(['=', '\0']) || key.contains(char::is_whitespace) {
        return Err(Refusal::new(
            format!("{key:?} cannot be the name of an environment variable"),
            "a name is not empty and has no `=`, no space and no NUL",
            "use letters, digits and `_`",
        ));
    }
    if is_pandos_own(key) {
        return Err(Refusal::new(
            format!("`{key}` cannot be set"),
            "Pando sets it for each worker",
            "remove it",
        ));
    }
    if value.contains('\0') {
        return Err(Refusal::new(
            format!("the value of `{key}` has a NUL character"),
            "the kernel ends an environment variable there",
            "remove it, or encode the value",
        ));
    }
    Ok(())
}

/// Words in a name that say: do not print me.
const SECRET_WORDS: [&str; 7] = [
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASS",
    "CREDENTIAL",
];

/// Whether a variable's value must not be printed: by its name, or because it is a URL with a
/// password in it.
pub fn is_secret(key: &str, value: &str) -> bool {
    let upper = key.to_uppercase();
    let by_name = upper.split(['_', '-', '.']).any(|part| {
        SECRET_WORDS
            .iter()
            .any(|word| part == *word || part.strip_suffix('S') == Some(word))
            || [
                "TOKEN",
                "SECRET",
                "PASSWORD",
                "PASSWD",
                "CREDENTIAL",
                "APIKEY",
            ]
            .iter()
            .any(|word| part.contains(word))
    });
    by_name || has_userinfo(value)
}

/// `scheme://user:password@host`, anywhere in the value.
fn has_userinfo(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or(rest);
        authority.contains('@')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_by_name_and_by_value() {
        for key in [
            "API_KEY",
            "KEY",
            "GITHUB_TOKEN",
            "AUTHTOKEN",
            "SECRET",
            "DB_PASSWORD",
            "DB_PASS",
            "AWS_CREDENTIALS",
            "api_keys",
            "clientSecret",
            "PGPASSWORD",
            "OPENAI_APIKEY",
        ] {
            assert!(is_secret(key, "x"), "{key}");
        }
        for key in [
            "KEYBOARD",
            "MONKEY",
            "PASSENGER",
            "NODE_ENV",
            "BYPASS_CACHE",
            "COMPASS",
        ] {
            assert!(!is_secret(key, "x"), "{key}");
        }
        assert!(is_secret("DATABASE_URL", "postgres://u:p@db/x"));
        assert!(is_secret("URLS", "redis://a/0,redis://:p@b/0"));
        assert!(!is_secret("PUBLIC_URL", "https://example.com/@me"));
    }

    #[test]
    fn pandos_own_and_the_shells_are_not_passed_on() {
        let env = [
            "PANDO_HOME",
            "NODE_UNIQUE_ID",
            "_",
            "SHLVL",
            "OLDPWD",
            "HOME",
            "PWD",
        ]
        .map(|key| (key.to_owned(), "x".to_owned()));
        let kept = clean(&env.into(), Path::new("/srv"));
        let kept: Vec<_> = kept.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(kept, [("HOME", "x"), ("PWD", "/srv")]);
    }
}
