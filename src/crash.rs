//! Points between the steps of a change, at which a test has the server die as by `kill -9`. A release build has none.
//!
//! The test names a file in `BERTH_CRASH`. While that holds a number, so many points are passed, and the process dies at the
//! next, with its name in the file.

#[cfg(debug_assertions)]
mod points {
    use std::{
        fs,
        path::PathBuf,
        sync::{Mutex, PoisonError},
    };

    use rustix::process::{Signal, getpid, kill_process};

    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// Between two steps: `name` says which.
    #[expect(clippy::disallowed_methods, reason = "it is no setting, and is not there in a release build")]
    pub fn point(name: &str) {
        let Some(file) = std::env::var_os("BERTH_CRASH").map(PathBuf::from) else { return };
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::read_to_string(&file).ok().and_then(|text| text.parse::<u32>().ok()) {
            Some(0) => {
                let _ = fs::write(&file, name);
                let _ = kill_process(getpid(), Signal::KILL);
            }
            Some(left) => drop(fs::write(&file, (left - 1).to_string())),
            None => {}
        }
    }
}

#[cfg(debug_assertions)]
pub use points::point;

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_: &str) {}
