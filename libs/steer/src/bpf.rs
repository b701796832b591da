//! The steering program, in classic BPF: one random number, scaled down to a rank among the
//! chosen seats, and that rank's seat as the answer.
//!
//! Ranks and seats differ only by gaps, so the program compares the rank with the ends of the
//! *runs* of neighbouring seats rather than with every seat. All seats of a group are one run:
//! three instructions; the usual hole or two cost three each. Even the worst case, every second
//! of [`MAX_SEATS`] seats, stays below the kernel's limits, so a search tree would not pay for
//! its jumps.
//!
//! ```text
//!     ld  random              ; A = a fresh 32-bit random number
//!     mod #count              ; A = the rank; biased by less than count / 2^32
//!     jge #ranks_before, next ; for every run but the last: does the rank lie behind it?
//!     add #gap                ;   no: A = rank + seats left out so far = the seat
//!     ret A
//! next: ...
//!     add #gap                ; the last run needs no comparison
//!     ret A
//! ```

/// The most seats of one group. Two limits of the kernel stand behind it, both for the worst
/// case of 512 runs: 4096 instructions (`BPF_MAXINSNS`), and `net.core.optmem_max` (20 kB before
/// Linux 6.9) for the program as translated to eBPF, 32 bytes a run.
pub const MAX_SEATS: usize = 1024;

/// What [`run`] answers for a program that the kernel would not load; as a seat, out of range.
pub const INVALID: u32 = u32::MAX;

/// One instruction; the layout is that of the kernel's `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip when it does not.
    pub jump_false: u8,
    pub k: u32,
}

// Opcodes: class | size or source | operation (linux/bpf_common.h).
/// A = the word at the absolute offset `k`.
const LOAD_WORD: u16 = 0x20;
/// A %= k.
const MOD: u16 = 0x94;
/// A += k.
const ADD: u16 = 0x04;
/// A >= k ?
const JUMP_GE: u16 = 0x35;
/// Return A.
const RETURN_A: u16 = 0x16;
/// `SKF_AD_OFF + SKF_AD_RANDOM` (linux/filter.h): the offset that reads as a random number.
const RANDOM: u32 = (-0x1000_i32 + 56).cast_unsigned();

/// The program that answers each of `seats` with the same probability and nothing else. Order
/// and repetition do not matter. Empty for no seats: no program can say "none of them".
#[must_use]
pub fn program(seats: &[usize]) -> Vec<Insn> {
    let mut seats: Vec<u32> = seats
        .iter()
        .map(|&seat| u32::try_from(seat).unwrap_or(INVALID))
        .collect();
    seats.sort_unstable();
    seats.dedup();
    let Ok(count @ 1..) = u32::try_from(seats.len()) else {
        return Vec::new();
    };

    let mut insns = vec![insn(LOAD_WORD, RANDOM), insn(MOD, count)];
    let mut runs = seats.chunk_by(|left, right| left + 1 == *right).peekable();
    let mut ranks: u32 = 0;
    while let Some(run) = runs.next() {
        let gap = run[0] - ranks;
        // At most `count` in all, which is a u32.
        ranks += run.len() as u32;
        let with_gap: &[Insn] = if gap == 0 { &[] } else { &[insn(ADD, gap)] };
        if runs.peek().is_some() {
            let behind = with_gap.len() as u8 + 1;
            insns.push(Insn {
                code: JUMP_GE,
                jump_true: behind,
                jump_false: 0,
                k: ranks,
            });
        }
        insns.extend_from_slice(with_gap);
        insns.push(insn(RETURN_A, 0));
    }
    insns
}

/// Runs a program of [`program`] as the kernel would, with `random` for its random number: for
/// tests and for showing what a filter does. [`INVALID`] for anything else.
#[must_use]
pub fn run(program: &[Insn], random: u32) -> u32 {
    let mut accumulator: u32 = 0;
    let mut at = 0;
    // Jumps only go forward, so the program ends.
    while let Some(insn) = program.get(at) {
        at += 1;
        match insn.code {
            LOAD_WORD if insn.k == RANDOM => accumulator = random,
            MOD if insn.k != 0 => accumulator %= insn.k,
            ADD => accumulator = accumulator.wrapping_add(insn.k),
            JUMP_GE => {
                let holds = accumulator >= insn.k;
                at += usize::from(if holds {
                    insn.jump_true
                } else {
                    insn.jump_false
                });
            }
            RETURN_A => return accumulator,
            _ => return INVALID,
        }
    }
    INVALID
}

fn insn(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jump_true: 0,
        jump_false: 0,
        k,
    }
}
