//! Every directive that is known, and what becomes of it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Main,
    Http,
    Server,
    Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Some part of the import looks at it and tells what it cannot translate.
    Translated,
    /// Pando does it by itself, or has no use for it.
    NotNeeded,
    Untranslated(&'static str),
}

const TRANSLATED: &[&str] = &[
    "access_log",
    "add_header",
    "alias",
    "allow",
    "auth_basic",
    "auth_basic_user_file",
    "client_body_timeout",
    "client_header_timeout",
    "client_max_body_size",
    "deny",
    "expires",
    "grpc_pass",
    "gzip",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_types",
    "if",
    "index",
    "keepalive_timeout",
    "large_client_header_buffers",
    "limit_conn",
    "limit_conn_zone",
    "limit_req",
    "limit_req_zone",
    "listen",
    "location",
    "map",
    "proxy_cache",
    "proxy_cache_background_update",
    "proxy_cache_bypass",
    "proxy_cache_key",
    "proxy_cache_path",
    "proxy_cache_use_stale",
    "proxy_cache_valid",
    "proxy_connect_timeout",
    "proxy_hide_header",
    "proxy_ignore_headers",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_no_cache",
    "proxy_pass",
    "proxy_read_timeout",
    "proxy_redirect",
    "proxy_request_buffering",
    "proxy_set_header",
    "proxy_ssl_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "real_ip_header",
    "return",
    "rewrite",
    "root",
    "send_timeout",
    "server",
    "server_name",
    "set_real_ip_from",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_protocols",
    "try_files",
    "upstream",
    "user",
    "worker_processes",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "default_type",
    "proxy_protocol",
    "grpc_set_header",
    "grpc_read_timeout",
    "include",
    "ssl",
    "ssl_verify_client",
];

/// Beside these every `ssl_…` directive that is not translated.
const NOT_NEEDED: &[&str] = &[
    "absolute_redirect",
    "aio",
    "brotli",
    "brotli_comp_level",
    "brotli_min_length",
    "brotli_static",
    "brotli_types",
    "charset",
    "client_body_buffer_size",
    "client_body_in_file_only",
    "client_body_temp_path",
    "client_header_buffer_size",
    "daemon",
    "directio",
    "env",
    "error_log",
    "etag",
    "events",
    "gzip_buffers",
    "gzip_disable",
    "gzip_http_version",
    "gzip_proxied",
    "gzip_static",
    "gzip_vary",
    "http2",
    "http2_max_concurrent_streams",
    "if_modified_since",
    "ignore_invalid_headers",
    "keepalive_requests",
    "limit_conn_log_level",
    "limit_conn_status",
    "limit_req_log_level",
    "limit_req_status",
    "load_module",
    "log_format",
    "log_not_found",
    "merge_slashes",
    "multi_accept",
    "open_file_cache",
    "open_file_cache_errors",
    "open_file_cache_min_uses",
    "open_file_cache_valid",
    "output_buffers",
    "pcre_jit",
    "pid",
    "port_in_redirect",
    "postpone_output",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_cache_lock",
    "proxy_cache_lock_age",
    "proxy_cache_lock_timeout",
    "proxy_cache_revalidate",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_next_upstream_timeout",
    "proxy_send_timeout",
    "proxy_socket_keepalive",
    "proxy_ssl_protocols",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "real_ip_recursive",
    "recursive_error_pages",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "sendfile",
    "sendfile_max_chunk",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "tcp_nodelay",
    "tcp_nopush",
    "thread_pool",
    "types",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "underscores_in_headers",
    "use",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "worker_connections",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "grpc_send_timeout",
];

pub(super) fn look_up(name: &str, context: Context) -> Fate {
    if TRANSLATED.contains(&name) {
        return misplaced(name, context);
    }
    if NOT_NEEDED.contains(&name) {
        return Fate::NotNeeded;
    }
    Fate::Untranslated(match name {
        "stream" | "mail" => "Pando's gateway speaks HTTP only",
        "error_page" => "Pando has no error pages of its own; let the app send them",
        "auth_request" => "use `jwt`, `api_keys` or `basic_auth`, or let the app decide",
        "satisfy" => "addresses and authentication must both be met",
        "internal" => "there is no request that only the gateway can make",
        "sub_filter" | "addition_types" | "add_after_body" | "ssi" => {
            "Pando does not change bodies"
        }
        "mirror" => "requests are not copied",
        "geo" | "geoip_country" | "geoip2" => {
            "Pando has no geography; use `allow` and `deny` with networks"
        }
        "split_clients" => "use `split` in a route",
        "set" => "Pando has no variables of its own",
        "stub_status" => "Pando has its own metrics",
        "autoindex" => "directories are not listed",
        "dav_methods" => "files are only read",
        "limit_rate" | "limit_rate_after" | "proxy_limit_rate" => {
            "Pando does not slow answers down"
        }
        "ssl_client_certificate" | "ssl_trusted_certificate" | "ssl_crl" | "ssl_verify_depth" => {
            "certificates of clients are not asked for"
        }
        "proxy_cookie_path" | "proxy_cookie_domain" | "proxy_cookie_flags" => {
            "cookies pass as they are"
        }
        "proxy_intercept_errors" => "the upstream's own errors pass",
        "proxy_ssl_certificate" | "proxy_ssl_certificate_key" => {
            "write `upstream_tls = { cert = …, key = … }` in the route"
        }
        "proxy_cache_min_uses" | "proxy_cache_methods" | "proxy_cache_convert_head" => {
            "the first answer to a GET is kept"
        }
        "proxy_method"
        | "proxy_set_body"
        | "proxy_pass_request_body"
        | "proxy_pass_request_headers" => "requests pass with their method and body",
        name if name.ends_with("_by_lua_block")
            || name.ends_with("_by_lua")
            || name.ends_with("_by_lua_file")
            || name.starts_with("js_")
            || name.starts_with("perl") =>
        {
            "Pando runs no scripts; let the app do it"
        }
        name if name.starts_with("fastcgi_")
            || name.starts_with("uwsgi_")
            || name.starts_with("scgi_") =>
        {
            "Pando's upstreams speak HTTP"
        }
        name if name.starts_with("ssl_") => return Fate::NotNeeded,
        _ => "Pando does not know this directive",
    })
}

/// Some are only looked at where nginx users write them.
fn misplaced(name: &str, context: Context) -> Fate {
    let elsewhere = match context {
        Context::Main => !matches!(name, "user" | "worker_processes" | "include"),
        Context::Http => matches!(
            name,
            "location"
                | "proxy_pass"
                | "listen"
                | "server_name"
                | "return"
                | "if"
                | "rewrite"
                | "try_files"
        ),
        Context::Server => matches!(name, "upstream" | "server" | "map" | "proxy_pass" | "alias"),
        Context::Location => matches!(
            name,
            "upstream" | "server" | "map" | "listen" | "server_name"
        ),
    };
    if elsewhere {
        Fate::Untranslated("it is not expected here")
    } else {
        Fate::Translated
    }
}
