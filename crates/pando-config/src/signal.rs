//! Names of the signals that can ask a process to stop, as in signal(7).

use app_spec::signal::SIGNALS;

use crate::problem::{Refusal, did_you_mean};

/// Signals that do not end a process, whatever its handlers do.
const NEVER_ENDS: [&str; 5] = ["CONT", "STOP", "TSTP", "TTIN", "TTOU"];

/// `SIGTERM` of `SIGTERM`, `term` or `15`.
pub(crate) fn stop_signal(text: &str) -> Result<String, Refusal> {
    let upper = text.trim().to_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = SIGNALS
        .iter()
        .find(|(name, number)| *name == bare || upper.parse() == Ok(*number))
        .map(|(name, _)| *name);
    let Some(name) = found else {
        let fix = match did_you_mean(bare, SIGNALS.iter().map(|(name, _)| *name)) {
            Some(name) => format!("did you mean \"SIG{name}\"?"),
            None => {
                "use one of \"SIGTERM\", \"SIGINT\", \"SIGQUIT\", \"SIGHUP\", \"SIGUSR2\"".into()
            }
        };
        let why = "a stop signal is a name as in signal(7)";
        return Err(Refusal::new(format!("`{text}` is not a signal"), why, fix));
    };
    if NEVER_ENDS.contains(&name) {
        return Err(Refusal::new(
            format!("SIG{name} cannot stop an app"),
            "it suspends or resumes a process, it never ends one",
            "use \"SIGTERM\" or \"SIGINT\"",
        ));
    }
    Ok(format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_refusals() {
        for text in ["SIGTERM", "TERM", "sigterm", "15", " Term "] {
            assert_eq!(stop_signal(text).as_deref(), Ok("SIGTERM"), "{text}");
        }
        assert_eq!(
            stop_signal("SIGTREM").unwrap_err().fix,
            "did you mean \"SIGTERM\"?"
        );
        for text in ["", "SIG", "0", "99", "SIGSTOP", "CONT", "soft"] {
            assert!(stop_signal(text).is_err(), "{text}");
        }
    }
}
