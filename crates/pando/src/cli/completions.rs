//! `pando completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::context::Context;
use crate::error::exit;

#[derive(Debug, Args)]
#[command(after_help = "\
  bash   pando completions bash > ~/.local/share/bash-completion/completions/pando
  zsh    pando completions zsh > a directory of $fpath, as _pando
  fish   pando completions fish > ~/.config/fish/completions/pando.fish")]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pando", &mut script);
    ctx.out.raw(&script);
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pando", &mut script);
            let script = String::from_utf8(script).unwrap();
            for verb in ["start", "reload", "logs", "resurrect"] {
                assert!(script.contains(verb), "{shell} {verb}");
            }
        }
    }
}
