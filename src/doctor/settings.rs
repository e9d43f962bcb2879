//! The settings: every one that can't be used, and what looks like a slip.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Report;
use crate::config::{Config, Variables};

const WHAT: &str = "settings";

/// The settings to go on with, where they can be read; those that can't be used have their defaults.
pub(super) fn check(report: &mut Report<'_>) -> Option<Config> {
    let variables = match Variables::load() {
        Ok(variables) => variables,
        Err(error) => {
            report.fail(WHAT, &error.to_string());
            return None;
        }
    };
    let file = fs::metadata(".env");
    let (config, wrong) = variables.survey();
    for error in &wrong {
        let error = error.to_string();
        match error.contains(" is not set") && file.is_err() {
            true => report.fail(WHAT, &format!("{error}. There is no .env here: copy .env.example to .env, and set it there")),
            false => report.fail(WHAT, &format!("{error}. Set it in .env or in the environment")),
        }
    }
    for name in variables.unknown() {
        report.warn(WHAT, &format!("{name} stands in .env, and is no setting of berth: look for it in .env.example"));
    }
    if file.as_ref().is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
        report.warn(WHAT, ".env has the password in it, and others on this machine can read it: chmod 600 .env");
    }
    if wrong.is_empty() {
        let from = if file.is_ok() { ".env and the environment" } else { "the environment; there is no .env here" };
        report.ok(WHAT, &format!("all can be used (from {from})"));
    }
    config
}
