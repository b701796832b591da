//! `balance = "peak-ewma"` and its kin; `hash_key = "header:x-user"` for the ring.

use gateway_spec::{Balance, HashKey};

use super::{headers, upstreams};
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    PeakEwma,
    RoundRobin,
    LeastConnections,
    Random,
    TwoChoices,
    IpHash,
    RingHash,
}

const WORDS: [(&str, Word); 7] = [
    ("peak-ewma", Word::PeakEwma),
    ("round-robin", Word::RoundRobin),
    ("least-connections", Word::LeastConnections),
    ("random", Word::Random),
    ("two-choices", Word::TwoChoices),
    ("ip-hash", Word::IpHash),
    ("ring-hash", Word::RingHash),
];

pub(super) fn read(table: &Table<'_>, balance: &mut Balance, report: &mut Report) {
    let key = table
        .get("hash_key")
        .map(|v| (v.key_place.clone(), hash_key(&v, report)));
    let word = table.get("balance").and_then(|v| v.choice(&WORDS, report));
    let key = match (word, key) {
        (None | Some(Word::RingHash), Some((_, key))) => key,
        (_, Some((place, _))) => {
            let what = "`hash_key` has no effect with this balance";
            let why = "only the ring hashes a key";
            report.error(
                &place,
                Refusal::new(what, why, "use balance = \"ring-hash\", or remove it"),
            );
            None
        }
        (_, None) => None,
    };
    match (word, key) {
        (None, None) => {}
        // A key alone asks for the ring.
        (None, Some(key)) => *balance = Balance::RingHash(key),
        (Some(word), key) => *balance = with_key(word, key),
    }
}

fn with_key(word: Word, key: Option<HashKey>) -> Balance {
    match word {
        Word::PeakEwma => Balance::PeakEwma,
        Word::RoundRobin => Balance::RoundRobin,
        Word::LeastConnections => Balance::LeastConnections,
        Word::Random => Balance::Random,
        Word::TwoChoices => Balance::TwoChoices,
        Word::IpHash => Balance::IpHash,
        Word::RingHash => Balance::RingHash(key.unwrap_or(HashKey::Ip)),
    }
}

fn hash_key(value: &Value<'_>, report: &mut Report) -> Option<HashKey> {
    let text = value.string("\"header:x-user\"", report)?;
    let key = match text {
        "ip" => Ok(HashKey::Ip),
        "path" => Ok(HashKey::Path),
        "uri" => Ok(HashKey::Uri),
        _ => named(text),
    };
    report.take(&value.place, key)
}

fn named(text: &str) -> Result<HashKey, Refusal> {
    match text.split_once(':') {
        Some(("header", name)) => headers::name(name).map(HashKey::Header),
        Some(("cookie", name)) if upstreams::is_cookie_name(name) => {
            Ok(HashKey::Cookie(name.to_owned()))
        }
        Some(_) | None => {
            let why = "it is ip, path, uri, header:NAME or cookie:NAME";
            let fix = "write it like \"header:x-user\"";
            Err(Refusal::new(
                format!("`{text}` is not what a hash is made of"),
                why,
                fix,
            ))
        }
    }
}
