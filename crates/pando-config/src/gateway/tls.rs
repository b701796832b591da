//! `tls = { cert = "…", key = "…" }` or `"auto"`.

use std::path::Path;

use gateway_spec::Tls;

use super::field;
use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Value, nothing_foreign};

const EXAMPLE: &str = "{ cert = \"cert.pem\", key = \"key.pem\" }";

pub(super) fn read(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Tls> {
    if value.is_str() {
        return value.choice(&[("auto", ())], report).map(|()| Tls::Auto);
    }
    let table = value.table("tls", EXAMPLE, report)?;
    table.only(&["cert", "key"], foreign, report);
    let file = |key: &str, report: &mut Report| {
        let Some(value) = table.get(key) else {
            let what = format!("`tls` has no `{key}`");
            let why = "a certificate and its key belong together";
            let fix = format!("write it like `tls = {EXAMPLE}`");
            report.missing(&table.place, Refusal::new(what, why, fix));
            return None;
        };
        let path = field::path(&value, &format!("\"{key}.pem\""), context, report)?;
        exists(&path, &value.place, context, report);
        Some(path)
    };
    let (cert, key) = (file("cert", report), file("key", report));
    Some(Tls::Files {
        cert: cert?,
        key: key?,
    })
}

/// A certificate may come later: the rest is served without it.
fn exists(path: &Path, place: &Place, context: &Context<'_>, report: &mut Report) {
    if !context.fs.is_file(path) {
        let what = format!("there is no file {}", path.display());
        let why = "this site has no TLS until it is there; all else is served";
        let fix = "check the path, or use tls = \"auto\"";
        report.warning(place, Refusal::new(what, why, fix));
    }
}

fn foreign(key: &str) -> Option<Refusal> {
    let ours = match key {
        "certificate" | "ssl_certificate" | "fullchain" | "crt" | "chain" => "cert",
        "private_key" | "ssl_certificate_key" | "keyfile" => "key",
        _ => return nothing_foreign(key),
    };
    let what = format!("unknown key `{key}` in `tls`");
    Some(Refusal::new(
        what,
        "it has two keys",
        format!("did you mean `{ours}`?"),
    ))
}
