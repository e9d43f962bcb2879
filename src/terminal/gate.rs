//! What a command waits behind in its container: a line for the container's shell, which becomes the command once it is let go.

use super::refusal::SH;
use crate::engine::processes::Marker;

/// Waits for a line, and becomes the program `$2`; `$1` is told where there is none, which `command -v` would not, as it also knows what only a
/// shell has. With a `$3`, variables come before the program that a shell would lose, for `env` to set, where there is one.
const GATE: &str = r#"is() { [ -f "$1" ] && [ -x "$1" ]; }
found() (case $1 in */*) is "$1"; exit;; esac; set -f; IFS=:; for d in $PATH; do is "${d:-.}/$1" && exit; done; exit 1)
read -r _ || exit 127
found "$2" || { echo "$1" >&2; exit 127; }
if [ "$3" ]; then
    shift 3; found env && exec env "$@"
    while case $1 in *=*) ;; *) false;; esac; do shift; done
else shift 3; fi
exec "$@""#;
/// What shells set for themselves, whatever it was.
const SHELLS: [&str; 18] = [
    "_",
    "BASHOPTS",
    "BASHPID",
    "DIRSTACK",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "PPID",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "UID",
];

/// The way through the gate, with what a shell would lose of the environment, where a shell can take such a program.
pub(super) fn gated<'a>(marker: Marker, command: &[String], env: impl Iterator<Item = &'a String>) -> Option<Vec<String>> {
    let program = command.first().filter(|program| !program.starts_with('-'))?;
    let mut odd: Vec<&String> = env.filter(|variable| is_odd(variable)).collect();
    if program.contains('=') {
        odd.clear();
    }
    let (session, marker) = (marker.session.to_string(), marker.to_string());
    let mut argv = [SH, "-c", GATE, "sh", &session, program].map(str::to_owned).to_vec();
    argv.push(if odd.is_empty() { "" } else { "env" }.to_owned());
    if !odd.is_empty() {
        // Behind one whose name is none of its options it takes them all for what they are.
        argv.push(marker);
        argv.extend(odd.into_iter().cloned());
    }
    argv.extend_from_slice(command);
    Some(argv)
}

/// Whether a shell would lose the variable, or change it.
fn is_odd(variable: &str) -> bool {
    let name = variable.split('=').next().unwrap_or_default();
    let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    SHELLS.contains(&name) || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Cuid;
    use uuid::Uuid;

    #[test]
    fn only_what_a_shell_would_lose_is_handed_on() {
        let marker = Marker { cuid: Cuid::new(), session: Uuid::nil() };
        let way = |program: &str, env: &[&str]| {
            let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
            gated(marker, &[program.to_owned()], env.iter()).map(|argv| argv[6..].join(" "))
        };
        assert_eq!(way("ls", &["A=b", "_b1=2"]).unwrap(), " ls");
        assert_eq!(
            way("ls", &["a.b=1=2", "A=b", "UID=5", "1a=", "-i=x"]).unwrap(),
            format!("env {marker} a.b=1=2 UID=5 1a= -i=x ls")
        );
        assert_eq!(way("a=b", &["a.b=1"]).unwrap(), " a=b", "env would take it for a variable");
        assert_eq!(way("-v", &[]), None);
    }
}
