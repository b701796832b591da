//! Checks a pando.toml and prints what it says, or every problem:
//! `cargo run -p pando-config --example check -- path/to/pando.toml`; with `--init`, what
//! `pando init` would write into the current directory.

use std::path::Path;

fn main() {
    let arg = std::env::args()
        .nth(1)
        .unwrap_or_else(|| pando_config::FILE_NAME.to_owned());
    if arg == "--init" {
        let dir = std::env::current_dir().unwrap_or_default();
        let file = pando_config::init(&dir, &pando_config::RealFs, &[]);
        print!("{}", file.text);
        return file.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let base_env = std::env::vars().collect();
    match pando_config::load(Path::new(&arg), &base_env) {
        Ok((file, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("{warning}"));
            file.apps
                .iter()
                .for_each(|app| println!("{}: {:?}", app.name, app.command));
        }
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}\n"));
            std::process::exit(2);
        }
    }
}
