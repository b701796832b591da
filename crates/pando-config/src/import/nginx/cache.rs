//! `proxy_cache…`, `gzip…`, and the size of bodies.

use gateway_spec::{Action, Cache, Compress, Route};

use super::Import;
use super::scope::Scope;
use super::tree::Directive;
use super::upstream::is_word;
use super::value;

/// nginx's `inactive`, after which it forgets what nobody asked for.
const INACTIVE_MS: u64 = 10 * 60 * 1000;
/// The most that pando.toml takes.
const MAX_AGE_MS: u64 = 3650 * 24 * 60 * 60 * 1000;

impl<'t> Import<'t> {
    pub fn compress(&mut self, route: &mut Route, scope: &Scope<'t>) {
        match scope.word("gzip") {
            Some("off") => route.compress = None,
            Some("on") => {
                let mut compress = Compress::default();
                if let Some(types) = scope.one("gzip_types") {
                    compress.types = self.types(types);
                }
                let min = scope.word("gzip_min_length").and_then(value::size_bytes);
                compress.min_bytes = min.unwrap_or(compress.min_bytes);
                let level = scope
                    .word("gzip_comp_level")
                    .and_then(|n| n.parse::<u8>().ok());
                compress.level = level.filter(|level| (1..=9).contains(level));
                route.compress = Some(compress);
            }
            Some(_) | None => {}
        }
    }

    /// nginx always adds text/html.
    fn types(&mut self, directive: &'t Directive) -> Vec<String> {
        let mut types = vec!["text/html".to_owned()];
        for text in &directive.args {
            let lowered = text.to_ascii_lowercase();
            if text == "*" {
                return vec!["*/*".into()];
            }
            let sound = lowered
                .split_once('/')
                .is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
            if !sound || lowered.contains(char::is_whitespace) || lowered.contains('\0') {
                self.notes
                    .untranslated(directive, format!("`{text}` is not a media type"));
            } else if !types.contains(&lowered) {
                types.push(lowered);
            }
        }
        types
    }

    pub fn body(&mut self, route: &mut Route, scope: &Scope<'t>) {
        if let Some(directive) = scope.one("client_max_body_size") {
            match value::size_bytes(directive.arg(0)) {
                Some(0) => route.body_bytes = u64::MAX,
                Some(bytes) => route.body_bytes = bytes,
                None => self.notes.untranslated(directive, "this is not a size"),
            }
        }
        if !matches!(route.action, Action::Proxy(_)) {
            return;
        }
        if scope.word("proxy_request_buffering") == Some("off") {
            route.buffer_request = false;
        }
        let read = scope
            .word("proxy_read_timeout")
            .or_else(|| scope.word("grpc_read_timeout"));
        if let Some(ms) = read.and_then(value::wait_ms) {
            route.timeout_ms = ms;
        }
        if let Some(redirect) = scope.one("proxy_redirect")
            && !matches!(redirect.arg(0), "off" | "default")
        {
            let why = "Location headers pass as they are; the upstream sees the client's host";
            self.notes.untranslated(redirect, why);
        }
        route.cache = self.cache(scope);
    }

    fn cache(&mut self, scope: &Scope<'t>) -> Option<Cache> {
        let directive = scope.one("proxy_cache").filter(|one| one.arg(0) != "off")?;
        let zone = self.cache_zones.get(directive.arg(0)).copied();
        let inactive = zone.and_then(|zone| {
            zone.args
                .iter()
                .find_map(|arg| arg.strip_prefix("inactive="))
        });
        let inactive = inactive
            .and_then(value::duration_ms)
            .unwrap_or(INACTIVE_MS)
            .min(MAX_AGE_MS);
        let mut cache = Cache::default();
        for valid in scope.all("proxy_cache_valid") {
            self.valid(valid, &mut cache);
        }
        for word in scope
            .one("proxy_cache_use_stale")
            .map_or(&[][..], |one| &one.args)
        {
            match word.as_str() {
                "updating" => cache.stale_while_revalidate_ms = inactive,
                "off" => {}
                _ => cache.stale_if_error_ms = inactive,
            }
        }
        if let Some(ignore) = scope.one("proxy_ignore_headers") {
            let ignores = ignore
                .args
                .iter()
                .any(|name| name.eq_ignore_ascii_case("cache-control"));
            if ignores {
                cache.force_ttl_ms = cache.default_ttl_ms.take();
            }
            if ignore
                .args
                .iter()
                .any(|name| name.eq_ignore_ascii_case("set-cookie"))
            {
                self.notes.untranslated(
                    ignore,
                    "an answer that sets a cookie for one client is not for others",
                );
            }
        }
        self.cache_key(scope, &mut cache);
        for name in ["proxy_cache_bypass", "proxy_no_cache"] {
            if let Some(directive) = scope.one(name) {
                self.bypass(directive, &mut cache);
            }
        }
        Some(cache)
    }

    /// `200 302 10m`, `10m`, `404 1m`: one time holds for all answers that may be kept.
    fn valid(&mut self, directive: &'t Directive, cache: &mut Cache) {
        let Some((time, codes)) = directive.args.split_last() else {
            return;
        };
        let Some(ms) = value::duration_ms(time).map(|ms| ms.min(MAX_AGE_MS)) else {
            self.notes.untranslated(directive, "this is not a time");
            return;
        };
        let of_200 = codes.is_empty() || codes.iter().any(|code| code == "200" || code == "any");
        if of_200 && cache.default_ttl_ms.is_none() {
            cache.default_ttl_ms = Some(ms);
        } else if cache.default_ttl_ms != Some(ms) {
            self.notes.untranslated(
                directive,
                "there is one time for all answers; that of status 200 is taken",
            );
        }
    }

    fn cache_key(&mut self, scope: &Scope<'t>, cache: &mut Cache) {
        let Some(directive) = scope.one("proxy_cache_key") else {
            return;
        };
        let key = directive.args.join("");
        for name in key.split('$').skip(1) {
            let (name, _) = value::variable(name);
            match (name, name.strip_prefix("http_")) {
                (
                    "scheme" | "proxy_host" | "host" | "http_host" | "server_name" | "request_uri"
                    | "uri" | "is_args" | "args" | "request_method" | "document_uri"
                    | "query_string",
                    _,
                ) => {}
                (_, Some(header)) if is_word(header) => {
                    cache
                        .key_headers
                        .push(header.to_ascii_lowercase().replace('_', "-"));
                }
                _ => {
                    let why = format!("`${name}` cannot be part of the key; headers can");
                    self.notes.untranslated(directive, why);
                }
            }
        }
    }

    fn bypass(&mut self, directive: &'t Directive, cache: &mut Cache) {
        for word in &directive.args {
            match word.strip_prefix("$cookie_").filter(|name| is_word(name)) {
                Some(name) if !cache.bypass_cookies.iter().any(|one| one == name) => {
                    cache.bypass_cookies.push(name.to_owned());
                }
                Some(_) => {}
                None if matches!(
                    word.as_str(),
                    "$http_authorization"
                        | "$http_cache_control"
                        | "$http_pragma"
                        | "$http_upgrade"
                ) =>
                {
                    // A shared cache keeps to these by itself (RFC 9111).
                }
                None => self.notes.untranslated(
                    directive,
                    format!("`{word}`: cookies can pass the cache by"),
                ),
            }
        }
    }
}
