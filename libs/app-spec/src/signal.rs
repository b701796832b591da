//! Signals by name and number, as in signal(7) on Linux.

/// Name without SIG, and its number on Linux (x86-64 and arm64).
pub const SIGNALS: [(&str, i32); 22] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
];

/// The number of a signal by its name, with or without SIG, in any case, or by its number
/// (1 to 64).
pub fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = SIGNALS.iter().find(|(name, _)| *name == bare);
    named
        .map(|(_, number)| *number)
        .or_else(|| bare.parse().ok().filter(|n| (1..=64).contains(n)))
}

/// The name of a signal, with SIG.
pub fn name(number: i32) -> Option<String> {
    let known = SIGNALS.iter().find(|(_, n)| *n == number)?;
    Some(format!("SIG{}", known.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_meet() {
        for (text, expect) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("15", Some(15)),
            ("SIGABRT", Some(6)),
            ("0", None),
            ("65", None),
            ("soft", None),
        ] {
            assert_eq!(number(text), expect, "{text}");
        }
        assert!(
            SIGNALS
                .iter()
                .all(|(_, n)| name(*n).and_then(|name| number(&name)) == Some(*n))
        );
        assert_eq!(name(64), None);
    }
}
