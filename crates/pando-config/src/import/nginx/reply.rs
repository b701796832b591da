//! `return`.

use gateway_spec::{Action, Site};

use super::Import;
use super::tree::Directive;
use super::value;
use crate::gateway::header_value;

impl<'t> Import<'t> {
    /// `None` if it cannot be translated, which is told.
    pub fn reply(&mut self, directive: &'t Directive, site: &Site) -> Option<Action> {
        let (first, second) = (directive.arg(0), directive.args.get(1));
        let Ok(status) = first.parse::<u16>() else {
            return self.redirect(directive, 302, first, site);
        };
        match (status, second) {
            (301 | 302 | 303 | 307 | 308, Some(to)) => self.redirect(directive, status, to, site),
            (444, _) => {
                self.notes
                    .differs(directive, "nginx closes the connection, Pando answers 404");
                Some(respond(404, String::new(), None))
            }
            (200..=599, text) => {
                Some(self.respond(directive, status, text.map_or("", String::as_str)))
            }
            _ => {
                self.notes
                    .untranslated(directive, "this status cannot be answered");
                None
            }
        }
    }

    pub fn redirect(
        &mut self,
        directive: &'t Directive,
        status: u16,
        to: &str,
        site: &Site,
    ) -> Option<Action> {
        let own = site.hosts.iter().find(|host| !host.contains('*'));
        let to = match own {
            Some(host) => to.replace("$server_name", host),
            None => to.replace("$server_name", "$host"),
        };
        match value::template(&to) {
            Ok(to) if is_target(&to) => Some(Action::Redirect { status, to }),
            Ok(_) => {
                self.notes
                    .untranslated(directive, "this is not where a browser can go");
                None
            }
            Err(unknown) => {
                self.notes
                    .untranslated(directive, format!("a redirect cannot hold `{unknown}`"));
                None
            }
        }
    }

    fn respond(&mut self, directive: &'t Directive, status: u16, text: &str) -> Action {
        if text.contains('$') {
            self.notes.differs(
                directive,
                "bodies hold no variables; the text is sent as it is",
            );
        }
        let body = match status {
            204 | 205 | 304 => String::new(),
            _ => text.to_owned(),
        };
        respond(status, body, self.content_type(directive))
    }

    /// From `default_type` or `add_header Content-Type` beside the `return`.
    fn content_type(&self, directive: &'t Directive) -> Option<String> {
        let beside = self.beside(directive)?;
        let found = beside.iter().find_map(|one| match one.name.as_str() {
            "default_type" => one.args.first(),
            "add_header" if one.arg(0).eq_ignore_ascii_case("content-type") => one.args.get(1),
            _ => None,
        });
        found
            .filter(|text| !text.trim().is_empty() && header_value(text).is_ok())
            .cloned()
    }

    /// The directives of the block that this one stands in.
    fn beside(&self, directive: &Directive) -> Option<&'t [Directive]> {
        let mut blocks: Vec<&'t [Directive]> = vec![&self.tree.directives];
        while let Some(block) = blocks.pop() {
            if block.iter().any(|one| std::ptr::eq(one, directive)) {
                return Some(block);
            }
            blocks.extend(block.iter().map(Directive::inner));
        }
        None
    }
}

fn respond(status: u16, body: String, content_type: Option<String>) -> Action {
    Action::Respond {
        status,
        body,
        content_type,
    }
}

pub(super) fn is_target(to: &str) -> bool {
    let begins = to.starts_with(['/', '{']) || to.contains("://");
    begins && header_value(to).is_ok() && !to.contains('\0')
}
