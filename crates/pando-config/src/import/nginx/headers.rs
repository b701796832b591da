//! `proxy_set_header`, `add_header`, `expires`.

use gateway_spec::{Action, HeaderEdit, Route};

use super::Import;
use super::scope::Scope;
use super::tree::Directive;
use super::value;
use crate::gateway::{header_name, header_value};

/// What the gateway sends by itself, with the values that mean the same.
const FORWARDED: [(&str, &[&str]); 5] = [
    ("x-real-ip", &["$remote_addr", "$realip_remote_addr"]),
    (
        "x-forwarded-for",
        &["$proxy_add_x_forwarded_for", "$remote_addr"],
    ),
    ("x-forwarded-proto", &["$scheme"]),
    (
        "x-forwarded-host",
        &["$host", "$http_host", "$host:$server_port"],
    ),
    ("x-forwarded-server", &["$host"]),
];
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "keep-alive", "te"];
/// Ten years, for `expires max`.
const MAX_AGE_SECONDS: u64 = 315_360_000;

impl<'t> Import<'t> {
    pub fn request_headers(&mut self, route: &mut Route, scope: &Scope<'t>, pass: &'t Directive) {
        let name = if pass.name == "grpc_pass" {
            "grpc_set_header"
        } else {
            "proxy_set_header"
        };
        let mut host = None;
        for directive in scope.all(name) {
            let (name, value) = (directive.arg(0).to_ascii_lowercase(), directive.arg(1));
            if name == "host" {
                host = self.host_header(directive, value, route);
            } else if !self.is_automatic(directive, &name, value) {
                let edit = self.edit(directive, &name, value);
                route.request_headers.extend(edit);
            }
        }
        let preserve = host.or_else(|| {
            let block = pass
                .arg(0)
                .split("://")
                .nth(1)
                .and_then(|rest| rest.split('/').next());
            let is_block = block.is_some_and(|name| self.upstreams.contains_key(name));
            if is_block {
                let why = "nginx sends the name of the upstream block as Host, Pando the client's";
                self.notes.differs(pass, why);
            }
            None
        });
        if let (Action::Proxy(group), Some(preserve)) = (&mut route.action, preserve) {
            group.preserve_host = preserve;
        }
    }

    fn host_header(
        &mut self,
        directive: &'t Directive,
        value: &str,
        route: &mut Route,
    ) -> Option<bool> {
        match value {
            "$host" | "$http_host" | "$host:$server_port" | "$host:$proxy_port"
            | "$server_name" => Some(true),
            "$proxy_host" => Some(false),
            value => {
                let edit = self.edit(directive, "host", value);
                let set = edit.is_some();
                route.request_headers.extend(edit);
                set.then_some(true)
            }
        }
    }

    /// Whether the gateway does it without being told, or it cannot be done.
    fn is_automatic(&mut self, directive: &'t Directive, name: &str, value: &str) -> bool {
        if let Some((_, values)) = FORWARDED.iter().find(|(known, _)| *known == name)
            && values.contains(&value)
        {
            return true;
        }
        match name {
            "upgrade" | "connection" => {
                let is_map = value
                    .strip_prefix('$')
                    .is_some_and(|_| self.upgrade_maps.contains(&value));
                let usual = [
                    "",
                    "upgrade",
                    "keep-alive",
                    "close",
                    "$http_upgrade",
                    "$connection_upgrade",
                    "$http_connection",
                ];
                if !is_map && !usual.contains(&value.to_ascii_lowercase().as_str()) {
                    self.notes.untranslated(
                        directive,
                        "it belongs to the connection, which the gateway keeps",
                    );
                }
                true
            }
            name if FRAMING.contains(&name) => {
                self.notes.untranslated(
                    directive,
                    "it belongs to the connection, which the gateway keeps",
                );
                true
            }
            _ => false,
        }
    }

    /// A header that is set, or taken off where its value is empty.
    fn edit(&mut self, directive: &'t Directive, name: &str, value: &str) -> Option<HeaderEdit> {
        let name = self.name(directive, name)?;
        if value.is_empty() {
            return Some(HeaderEdit::Remove { name });
        }
        let value = self.value(directive, value)?;
        Some(HeaderEdit::Set { name, value })
    }

    fn name(&mut self, directive: &'t Directive, name: &str) -> Option<String> {
        let sound = header_name(name).ok();
        if sound.is_none() {
            self.notes
                .untranslated(directive, "this is not the name of a header");
        }
        sound
    }

    fn value(&mut self, directive: &'t Directive, value: &str) -> Option<String> {
        match value::template(value) {
            Ok(text) if header_value(&text).is_ok() => Some(text),
            Ok(_) => {
                self.notes
                    .untranslated(directive, "the value has a control character");
                None
            }
            Err(unknown) => {
                self.notes
                    .untranslated(directive, format!("a value cannot hold `{unknown}`"));
                None
            }
        }
    }

    pub fn response_headers(&mut self, route: &mut Route, scope: &Scope<'t>) {
        for directive in scope.all("proxy_hide_header") {
            let name = self.name(directive, directive.arg(0));
            let proxied = matches!(route.action, Action::Proxy(_));
            if let Some(name) = name.filter(|_| proxied) {
                route.response_headers.push(HeaderEdit::Remove { name });
            }
        }
        let mut control: Vec<String> = Vec::new();
        for directive in scope.all("add_header") {
            let (name, value) = (directive.arg(0).to_ascii_lowercase(), directive.arg(1));
            if name == "cache-control" {
                control.extend(
                    value
                        .split(',')
                        .map(|part| part.trim().to_owned())
                        .filter(|part| !part.is_empty()),
                );
                continue;
            }
            if name == "content-type" && matches!(route.action, Action::Respond { .. }) {
                // Read with the answer.
                continue;
            }
            if FRAMING.contains(&name.as_str()) || name == "connection" || name == "upgrade" {
                self.notes.untranslated(
                    directive,
                    "it belongs to the connection, which the gateway keeps",
                );
                continue;
            }
            let pair = self
                .name(directive, &name)
                .zip(self.value(directive, value));
            route
                .response_headers
                .extend(pair.map(|(name, value)| HeaderEdit::Add { name, value }));
        }
        self.cache_control(route, scope, control);
    }

    /// `expires` and what `add_header Cache-Control` says, as one header.
    fn cache_control(&mut self, route: &mut Route, scope: &Scope<'t>, mut control: Vec<String>) {
        let expires = scope.one("expires").and_then(|one| self.expires(one));
        let decided = expires.is_some();
        if let Some(age) =
            expires.filter(|_| !control.iter().any(|part| part.starts_with("max-age")))
        {
            let after = control
                .iter()
                .position(|part| part == "public" || part == "private")
                .map_or(0, |at| at + 1);
            control.insert(after, age);
        }
        if control.is_empty() {
            return;
        }
        let value = control.join(", ");
        if header_value(&value).is_err() || value::template(&value).is_err() {
            return;
        }
        if let Action::Files(files) = &mut route.action {
            files.cache_control = Some(value);
            return;
        }
        let name = "cache-control".to_owned();
        // `expires` takes the place of the upstream's, `add_header` stands beside it.
        route.response_headers.push(if decided {
            HeaderEdit::Set { name, value }
        } else {
            HeaderEdit::Add { name, value }
        });
    }

    fn expires(&mut self, directive: &'t Directive) -> Option<String> {
        let age = |seconds: u64| Some(format!("max-age={seconds}"));
        match directive.arg(0) {
            "off" => None,
            "max" => age(MAX_AGE_SECONDS),
            "epoch" => Some("no-cache".into()),
            text if text.starts_with('-') => Some("no-cache".into()),
            text => {
                let ms = value::duration_ms(text.trim_start_matches('+'));
                if ms.is_none() {
                    let why = "a time is counted from the request; no other reckoning is known";
                    self.notes.untranslated(directive, why);
                }
                ms.and_then(|ms| age(ms / 1000))
            }
        }
    }
}
