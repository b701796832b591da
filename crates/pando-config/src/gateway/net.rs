//! Networks: `10.0.0.0/8`, `::1`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::problem::{Refusal, Report};
use crate::table::Value;

/// Networks of one list.
const MAX_NETS: usize = 4096;

/// All networks of a list, with their host bits cleared.
pub(super) fn read(value: &Value<'_>, report: &mut Report) -> Option<Vec<IpNet>> {
    let texts = value.strings("[\"10.0.0.0/8\", \"::1\"]", report)?;
    if let Some((_, place)) = texts.get(MAX_NETS) {
        let what = format!("`{}` has more than {MAX_NETS} networks", value.key);
        let why = "each request is compared with them";
        report.error(place, Refusal::new(what, why, "use larger networks"));
        return None;
    }
    let nets = texts
        .iter()
        .map(|(text, place)| report.take(place, one(text)));
    // All of them are looked at before one that is wrong loses the rest.
    nets.collect::<Vec<_>>().into_iter().collect()
}

fn one(text: &str) -> Result<IpNet, Refusal> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| {
        let fix = match text {
            "all" | "*" => "write \"0.0.0.0/0\" and \"::/0\"",
            "localhost" => "write \"127.0.0.0/8\" and \"::1\"",
            _ => "write it like \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
        };
        let what = format!("`{text}` is not a network");
        let why = "it is an IP address, with the bits of its prefix behind a slash (CIDR)";
        Refusal::new(what, why, fix)
    })
}
