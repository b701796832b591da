use std::collections::BTreeMap;

use app_spec::{AppSpec, Balance, Command, Instances};

use super::*;
use crate::fs::{MemoryFs, NodeVersion};

fn base() -> MemoryFs {
    MemoryFs::new()
        .with_executable("/usr/bin/node", "")
        .with_executable("/usr/bin/npm", "")
}

/// What init writes parses with no problem; the apps that come out.
#[track_caller]
fn round(fs: &MemoryFs, running: &[Listening]) -> (Vec<AppSpec>, InitFile) {
    let file = init(Path::new("/srv/shop"), fs, running);
    let path = Path::new("/srv/shop/pando.toml");
    let parsed = crate::parse(&file.text, path, &BTreeMap::new(), fs);
    let (parsed, warnings) = parsed.unwrap_or_else(|p| panic!("{}\n{p:#?}", file.text));
    assert_eq!(warnings, [], "{}", file.text);
    (parsed.apps, file)
}

fn script(spec: &AppSpec) -> (String, Vec<String>, Vec<String>) {
    match &spec.command {
        Command::Script {
            script,
            interpreter_args,
            args,
            ..
        } => (
            script.display().to_string(),
            interpreter_args.clone(),
            args.clone(),
        ),
        Command::Shell { line } => (format!("sh: {line}"), vec![], vec![]),
        Command::Exec { .. } => panic!("{spec:?}"),
    }
}

#[test]
fn an_express_app() {
    let fs = base()
        .with("/srv/shop/package.json", r#"{"name":"@acme/shop.api","scripts":{"start":"NODE_ENV=production node --enable-source-maps src/server -v"},"dependencies":{"express":"5"}}"#)
        .with("/srv/shop/src/server.js", "")
        .with("/srv/shop/.env", "SECRET=1\nPORT=3000\n");
    let (apps, file) = round(
        &fs,
        &[Listening {
            pid: 7,
            port: 3000,
            command: "node src/server -v".into(),
        }],
    );
    let [app] = &apps[..] else { panic!("{apps:?}") };
    assert_eq!(app.name, "shop.api");
    assert_eq!(
        script(app),
        (
            "/srv/shop/src/server.js".into(),
            vec!["--enable-source-maps".into()],
            vec!["-v".into()]
        )
    );
    assert_eq!(app.instances, Instances::Max);
    assert_eq!(app.env["NODE_ENV"], "production");
    assert_eq!(app.env["SECRET"], "1");
    assert!(file.text.contains("# Express"), "{}", file.text);
    assert_eq!(
        file.notes,
        ["shop.api listens on port 3000 already (pid 7): stop that process before `pando up`."]
    );
}

#[test]
fn what_is_not_built_runs_by_npm() {
    let fs = base().with(
        "/srv/shop/package.json",
        r#"{"scripts":{"start":"nest start","start:prod":"node dist/main"},"dependencies":{"@nestjs/core":"10"}}"#,
    );
    let (apps, file) = round(&fs, &[]);
    assert_eq!(script(&apps[0]).0, "sh: npm run start:prod");
    assert!(
        file.notes[0].contains("dist/main is not there yet"),
        "{:?}",
        file.notes
    );
    let (apps, _) = round(&fs.with("/srv/shop/dist/main.js", ""), &[]);
    assert_eq!(script(&apps[0]).0, "/srv/shop/dist/main.js");
}

#[test]
fn next_runs_as_the_script_it_is() {
    let fs = base()
        .with(
            "/srv/shop/package.json",
            r#"{"scripts":{"start":"next start -p 4000"},"dependencies":{"next":"15"}}"#,
        )
        .with("/srv/shop/.env", "A=1");
    let (apps, _) = round(&fs, &[]);
    assert_eq!(script(&apps[0]).0, "sh: npm start");
    let fs = fs.with(
        "/srv/shop/node_modules/next/dist/bin/next",
        "#!/usr/bin/env node\n",
    );
    let (apps, _) = round(&fs, &[]);
    assert_eq!(script(&apps[0]).2, ["start", "-p", "4000"]);
    assert!(apps[0].env.is_empty(), "Next reads .env itself");
}

#[test]
fn a_workspace_has_an_app_for_each_package_that_starts() {
    let fs = base()
        .with("/srv/shop/package.json", r#"{"name":"root","workspaces":["packages/*"]}"#)
        .with("/srv/shop/packages/api/package.json", r#"{"name":"api","scripts":{"start":"node ."},"main":"x.js","dependencies":{"socket.io":"4"}}"#)
        .with("/srv/shop/packages/api/x.js", "")
        .with("/srv/shop/packages/api/.env", "A=1")
        .with("/srv/shop/packages/lib/package.json", r#"{"name":"lib","main":"i.js"}"#)
        .with("/srv/shop/packages/lib/i.js", "")
        .with("/srv/shop/packages/web/package.json", r#"{"name":"api","scripts":{"start":"vite preview"}}"#);
    let (apps, _) = round(&fs, &[]);
    let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["api", "api-2"]);
    assert_eq!(apps[0].cwd, Path::new("/srv/shop/packages/api"));
    assert_eq!(apps[0].balance, Balance::IpHash);
    assert_eq!(apps[0].env["A"], "1");
    assert_eq!(script(&apps[1]).0, "sh: npm start");
}

#[test]
fn other_managers_and_files() {
    let package = r#"{"scripts":{"start":"vite preview"}}"#;
    let fs = base()
        .with("/srv/shop/package.json", package)
        .with("/srv/shop/pnpm-lock.yaml", "");
    assert_eq!(script(&round(&fs, &[]).0[0]).0, "sh: pnpm start");
    let fs = base()
        .with("/srv/shop/app.js", "")
        .with("/srv/shop/ecosystem.config.js", "");
    let (apps, file) = round(&fs, &[]);
    assert_eq!(script(&apps[0]).0, "/srv/shop/app.js");
    assert_eq!(apps[0].name, "shop");
    assert!(file.notes[0].starts_with("ecosystem.config.js is PM2's"));
    let typed = base()
        .with(
            "/srv/shop/package.json",
            r#"{"scripts":{"start":"node a.ts"}}"#,
        )
        .with("/srv/shop/a.ts", "");
    assert_eq!(script(&round(&typed, &[]).0[0]).0, "sh: npm start");
    let mut new = typed;
    new.node = Some(NodeVersion {
        major: 24,
        minor: 0,
    });
    assert_eq!(script(&round(&new, &[]).0[0]).0, "/srv/shop/a.ts");
}

#[test]
fn nothing_at_all_still_parses() {
    let fs = base().with("/srv/shop/README", "");
    let (apps, file) = round(&fs, &[]);
    assert_eq!(apps[0].name, "shop");
    assert_eq!(file.notes.len(), 1);
    let broken = base()
        .with("/srv/shop/package.json", "{")
        .with("/srv/shop/.env", "nonsense");
    let (_, file) = round(&broken, &[]);
    assert!(
        file.notes[0].starts_with("package.json cannot be read"),
        "{:?}",
        file.notes
    );
}

#[test]
fn what_runs_here_is_taken_over() {
    let fs = base().with("/srv/shop/bin/www", "#!/usr/bin/env node\n");
    let running = Listening {
        pid: 9,
        port: 80,
        command: "node /srv/shop/bin/www".into(),
    };
    let (apps, _) = round(&fs, &[running]);
    assert_eq!(script(&apps[0]).0, "/srv/shop/bin/www");
}
