//! The house rules that a tool can check: which way the arrows point, who owns what, module docs, sizes, and that the
//! documents name only what is there.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Above this a file holds more than one concept.
const FILE_LINES: usize = 300;
/// Above this a function does more than one thing. Rustfmt's layout counts.
const FUNCTION_LINES: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this ending, with its path from the root and its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "nothing below {folder}");
    found.sort();
    found
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let ends = |line: &&str| !line.starts_with("#[cfg(test)]");
    let lines = text.lines().take_while(ends).filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Fails where `word` is in the code of a file below `src` that none of `owners` is the beginning of.
fn only_in(owners: &[&str], word: &str) {
    for (name, text) in files("src", "rs") {
        let owned = owners.iter().any(|owner| name.starts_with(owner));
        assert!(owned || !code(&text).contains(word), "{name} names {word:?}, which only {owners:?} may");
    }
}

#[test]
fn arrows_point_one_way() {
    let rooms: [(&str, &[&str]); 9] = [
        ("domain", &["domain", "error"]),
        ("error", &["domain"]),
        ("config", &["domain", "files", "error"]),
        ("action_log", &["domain", "error"]),
        ("engine", &["domain", "error"]),
        ("compose", &["domain", "error", "config"]),
        ("files", &["domain", "error"]),
        ("terminal", &["domain", "error", "config", "engine", "compose"]),
        ("containers", &["domain", "error", "config", "engine", "compose", "files"]),
    ];
    for (name, text) in files("src", "rs") {
        let room = name.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap().to_owned();
        let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else { continue };
        for other in [
            "app",
            "cli",
            "doctor",
            "logging",
            "http",
            "domain",
            "error",
            "config",
            "action_log",
            "engine",
            "compose",
            "files",
            "terminal",
            "containers",
        ] {
            let named = uses(&code(&text), other);
            assert!(
                !named || other == room || allowed.contains(&other),
                "{name} uses {other}, and {room} may use only {allowed:?}"
            );
        }
    }
}

/// Whether code names the crate's module, by `crate::module` or inside `use crate::{…}`.
fn uses(code: &str, module: &str) -> bool {
    let direct = [format!("crate::{module}::"), format!("crate::{module};"), format!("crate::{module},")];
    let grouped = code.split("use crate::{").skip(1).any(|rest| {
        let (mut depth, mut item) = (0_usize, String::new());
        let mut items = Vec::new();
        for c in rest.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => items.push(std::mem::take(&mut item)),
                c if depth == 0 => item.push(c),
                _ => (),
            }
        }
        items.push(item);
        items.iter().any(|item| item.trim().split("::").next() == Some(module))
    });
    grouped || direct.iter().any(|path| code.contains(path.as_str()))
}

#[test]
fn every_outside_capability_has_one_owner() {
    for (owners, word) in [
        (&["src/http/", "src/app.rs"][..], "actix"),
        (&["src/engine/"], "bollard"),
        (&["src/files/"], "zip::"),
        (&["src/files/"], "cap_std"),
        (&["src/compose/"], "serde_yaml"),
        (&["src/compose/cli.rs"], "process::Command"),
        (&["src/terminal/transport/compose.rs"], "portable_pty"),
        (&["src/config", "src/crash.rs"], "env::var"),
        (&["src/config"], "dotenvy"),
        // The engine speaks HTTP itself, which is none of ours.
        (&["src/http/", "src/engine/hijack.rs"], "StatusCode"),
    ] {
        only_in(owners, word);
    }
}

#[test]
fn every_file_says_what_it_owns_and_holds_one_concept() {
    for (name, text) in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        assert!(text.starts_with("//! "), "{name} does not begin with a module doc");
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= FILE_LINES, "{name} has {lines} lines before its tests, over {FILE_LINES}");
    }
}

#[test]
fn functions_are_short() {
    for (name, text) in files("src", "rs") {
        let mut begun: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts = ["fn ", "pub fn ", "async fn ", "pub async fn "].iter().any(|start| {
                let rest = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
                rest.starts_with(start)
            });
            if starts && !line.trim_end().ends_with(['}', ';']) {
                begun = Some((indent, number, line.trim().to_owned()));
            } else if let Some((_, first, head)) = begun.take_if(|(depth, ..)| line.trim_end() == format!("{:depth$}}}", "")) {
                let length = number - first + 1;
                assert!(length <= FUNCTION_LINES, "{name}: {head} has {length} lines, over {FUNCTION_LINES}");
            }
        }
    }
}

#[test]
fn the_documents_name_only_files_that_are_there() {
    for document in ["README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains(':')) {
            let target = root().join(document).parent().unwrap().join(link);
            assert!(target.exists(), "{document} links to {link}, which is not there");
        }
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "scripts/", "docs/", "templates/", "bench/", ".ci/"]
                .iter()
                .any(|start| word.starts_with(start));
            if is_path && !word.contains(['<', '*', ' ']) {
                assert!(root().join(word).exists(), "{document} names {word}, which is not there");
            }
        }
    }
}

#[test]
fn the_map_in_lib_rs_names_every_module() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for line in map.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(map.contains(&format!("[`{module}`]")), "the map in lib.rs leaves out {module}");
    }
}
