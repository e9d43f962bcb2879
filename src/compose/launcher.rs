//! What a container without a command runs: `boot.py`, or what installs `requirements.txt` before it becomes `boot.py`.

use serde_yaml::Value;

use super::file::literal;
use crate::domain::volume::PACKAGES;

/// The script that is run where a specification has no command, as the container sees it.
const BOOT: &str = "/app/boot.py";

/// Installs, and becomes `boot.py`. It needs Python 3.7 and nothing else.
const LAUNCHER: &str = include_str!("launcher.py");

/// Python's command line; with `packages`, what `requirements.txt` names is installed into its volume first.
pub(super) fn python(packages: bool) -> Value {
    let words: &[&str] = if packages { &["python3", "-u", "-c", LAUNCHER, PACKAGES, BOOT] } else { &["python3", "-u", BOOT] };
    words.iter().map(|word| literal(word)).collect()
}
