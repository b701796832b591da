//! `listen = ["0.0.0.0:80", "0.0.0.0:443 tls", "127.0.0.1:9000 proxy", "unix:/run/pando.sock"]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gateway_spec::{Listen, ListenAddress};

use crate::app::Context;
use crate::command;
use crate::problem::{Place, Refusal, Report, did_you_mean};
use crate::table::Value;

/// Listening addresses of one gateway.
const MAX_LISTEN: usize = 256;

pub(super) struct PlacedListen {
    pub listen: Listen,
    pub place: Place,
}

/// Without `listen`: the ports of the web for who may open them, else those above 8000.
pub(super) fn default(is_root: bool, with_tls: bool) -> Vec<Listen> {
    let (plain, tls) = if is_root { (80, 443) } else { (8080, 8443) };
    let at = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let mut listen = vec![Listen::plain(at(plain))];
    listen.extend(with_tls.then(|| Listen::tls(at(tls))));
    listen
}

pub(super) fn read(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<PlacedListen>> {
    let texts = value.strings("[\"0.0.0.0:80\", \"0.0.0.0:443 tls\"]", report)?;
    if texts.is_empty() {
        let why = "a gateway that listens nowhere serves nobody";
        let fix = "name an address, or remove the key for the default";
        report.error(&value.place, Refusal::new("`listen` is empty", why, fix));
    }
    if let Some((_, place)) = texts.get(MAX_LISTEN) {
        let what = format!("{} addresses to listen at are too many", texts.len());
        let why = format!("one gateway has at most {MAX_LISTEN}");
        report.error(place, Refusal::new(what, why, "leave some out"));
    }
    let mut all: Vec<PlacedListen> = Vec::new();
    for (text, place) in texts.into_iter().take(MAX_LISTEN) {
        let Some(listen) = report.take(&place, one(text, context)) else {
            continue;
        };
        if all
            .iter()
            .any(|other| other.listen.address == listen.address)
        {
            let what = format!("`{}` is listened at twice", listen.address);
            let why = "one address has one kind of listener";
            report.error(&place, Refusal::new(what, why, "remove one of the two"));
            continue;
        }
        all.push(PlacedListen { listen, place });
    }
    Some(all)
}

fn one(text: &str, context: &Context<'_>) -> Result<Listen, Refusal> {
    let mut words = text.split_whitespace();
    let address = address(words.next().unwrap_or_default(), context)?;
    let mut listen = Listen {
        address,
        tls: false,
        proxy_protocol: false,
    };
    for word in words {
        match word {
            "tls" => listen.tls = true,
            "proxy" => listen.proxy_protocol = true,
            "ssl" => return Err(unknown_word(word, Some("tls"))),
            "proxy_protocol" => return Err(unknown_word(word, Some("proxy"))),
            _ => return Err(unknown_word(word, did_you_mean(word, ["tls", "proxy"]))),
        }
    }
    Ok(listen)
}

fn unknown_word(word: &str, near: Option<&str>) -> Refusal {
    let what = format!("`{word}` says nothing about a listener");
    let why = "behind the address may stand `tls` and `proxy`; HTTP/2 is always on";
    let fix = near.map_or_else(
        || format!("remove `{word}`"),
        |near| format!("did you mean `{near}`?"),
    );
    Refusal::new(what, why, fix)
}

fn address(text: &str, context: &Context<'_>) -> Result<ListenAddress, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() || path.ends_with('/') {
            let what = format!("`{text}` names no socket");
            let fix = "write it like \"unix:/run/pando/web.sock\"";
            return Err(Refusal::new(what, "a unix socket is a file", fix));
        }
        return Ok(ListenAddress::Unix(command::absolute(context.dir, path)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return nonzero(address, text).map(ListenAddress::Tcp);
    }
    // ":80", "*:80" and "80" mean all addresses of the machine.
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':'));
    if let Ok(port) = port.unwrap_or(text).parse::<u16>() {
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        return nonzero(all, text).map(ListenAddress::Tcp);
    }
    let what = format!("`{text}` is not an address to listen at");
    let why = "it is an IP address with a port, or unix: with a path";
    Err(Refusal::new(what, why, address_fix(text)))
}

fn address_fix(text: &str) -> String {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return format!("add a port: \"{}\"", SocketAddr::new(ip, 80));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
        Some((_, port)) if port.parse::<u16>().is_ok() => {
            format!("write \"0.0.0.0:{port}\"; names of hosts belong into [site.\"NAME\"]")
        }
        Some(_) | None => "write it like \"0.0.0.0:80\" or \"[::]:80\"".to_owned(),
    }
}

fn nonzero(address: SocketAddr, text: &str) -> Result<SocketAddr, Refusal> {
    if address.port() > 0 {
        return Ok(address);
    }
    let what = format!("`{text}` has port 0");
    let why = "clients must know the port";
    Err(Refusal::new(what, why, "give it a number from 1 to 65535"))
}
