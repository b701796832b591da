//! Giving back pages of program text that only the start needed: argument parsing, set-up. The
//! kernel maps 16 pages around each one touched, so a process that goes on for months would count
//! megabytes of code that it never runs again.

#![expect(
    unsafe_code,
    reason = "madvise is unsafe: on written pages this advice loses data"
)]

use rustix::mm::{Advice, madvise};

/// Drops this process's mapped program text; what is needed comes back from the page cache.
/// Nothing is reported: it is a saving, not a need.
pub fn drop_program_text() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, length) in maps.lines().filter_map(text_mapping) {
        // SAFETY: the range is a private file mapping, readable and executable and not writable,
        // taken from the kernel's own list. It has never been written (a text segment has no
        // relocations), so every page can be read again from the file, which cannot be written
        // while it is executed (ETXTBSY).
        let advised = unsafe {
            madvise(
                std::ptr::without_provenance_mut(start),
                length,
                Advice::LinuxDontNeed,
            )
        };
        if advised.is_err() {
            return;
        }
    }
}

/// Start and length of a line of /proc/PID/maps that is program text of a file.
fn text_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, mode) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if mode != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_file_mappings_count() {
        let text = "55d0c0a00000-55d0c0b00000 r-xp 00001000 fe:00 1 /usr/bin/pando";
        assert_eq!(text_mapping(text), Some((0x55d0_c0a0_0000, 0x10_0000)));
        for other in [
            "55d0c0a00000-55d0c0b00000 r--p 00001000 fe:00 1 /usr/bin/pando",
            "55d0c0a00000-55d0c0b00000 rw-p 00001000 fe:00 1 /usr/bin/pando",
            "7ffd1000-7ffd3000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd1000-7ffd3000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(text_mapping(other), None, "{other}");
        }
    }

    #[test]
    fn the_program_goes_on() {
        drop_program_text();
        assert_eq!("still here".len(), 10);
    }
}
