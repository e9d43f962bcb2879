//! The engine, Compose, and the images of the containers that there are.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::timeout;

use super::Report;
use crate::{
    compose::cli::Compose,
    config::Config,
    containers::store::{Found, scan},
    engine::{About, Engine},
    error::Result as Answer,
    metrics::Metrics,
};

/// How long the engine, and Compose, may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The oldest API that berth works with, of Engine 20.10.
const API: [u64; 2] = [1, 41];

/// The oldest Compose that berth works with, and the first with the fix of CVE-2025-62725.
const COMPOSE: [u64; 3] = [2, 0, 0];
const COMPOSE_FIXED: [u64; 3] = [2, 40, 2];

pub(super) async fn check(report: &mut Report<'_>, config: &Config) {
    let engine = Engine::connect(&config.docker_host);
    let asked = async {
        engine.negotiate().await?;
        engine.about().await
    };
    let answers = match in_time(asked).await {
        Ok(about) => {
            tell_about(report, &engine, &config.docker_host, &about);
            true
        }
        Err(why) => {
            let host = &config.docker_host;
            report.fail(
                "engine",
                &format!("{why}: start it (systemctl start docker), or set DOCKER_HOST to where it listens, now {host}"),
            );
            false
        }
    };
    compose(report, config).await;
    images(report, config, answers.then_some(&engine)).await;
}

/// An answer, or why there is none.
async fn in_time<T>(asked: impl Future<Output = Answer<T>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing answered within {} s", PATIENCE.as_secs())),
    }
}

fn tell_about(report: &mut Report<'_>, engine: &Engine, host: &str, about: &About) {
    let About { version, api_version, cgroup_version, lacks } = about;
    if numbers(api_version).is_some_and(|api: [u64; 2]| api < API) {
        let text =
            format!("Docker Engine {version} speaks API {api_version}, and berth needs 1.41: install Engine 20.10 or newer");
        return report.fail("engine", &text);
    }
    report.ok("engine", &format!("Docker Engine {version} answers at {host} (API {api_version}, cgroup v{cgroup_version})"));
    if !lacks.is_empty() {
        report.warn("engine", &format!("this machine can't limit {} of containers: such limits do nothing", lacks.join(", ")));
    }
    if !engine.is_local() {
        report.warn(
            "engine",
            "it is reached over the network: mounts and ports are its machine's, and have to be the same as here",
        );
    }
}

async fn compose(report: &mut Report<'_>, config: &Config) {
    let what = "compose";
    let version = match in_time(Compose::new(&config.compose, Metrics::default()).version()).await {
        Ok(version) => version,
        Err(why) => {
            return report.fail(what, &format!("{why}: install Compose v2 (docker-compose-plugin), or set COMPOSE_BIN to it"));
        }
    };
    match numbers::<3>(&version) {
        // One that somebody built.
        None if version == "dev" => report.warn(what, "it says that it is \"dev\": whether berth works with it can't be told"),
        None => report.fail(
            what,
            &format!(
                "it says that its version is {version:?}: install Compose v2 (docker-compose-plugin), or set COMPOSE_BIN to it"
            ),
        ),
        Some(found) if found < COMPOSE => {
            report.fail(what, &format!("Compose {version} is too old: install version 2.40.2 or newer"));
        }
        Some(found) if found < COMPOSE_FIXED => report.warn(
            what,
            &format!("Compose {version} has CVE-2025-62725 (remote includes, which berth never writes): install 2.40.2 or newer"),
        ),
        Some(_) => report.ok(what, &format!("Compose {version}")),
    }
}

/// The numbers that a version begins with.
fn numbers<const N: usize>(version: &str) -> Option<[u64; N]> {
    let mut parts = version.trim().trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    let mut found = [0; N];
    for number in &mut found {
        *number = parts.next()?.parse().ok()?;
    }
    Some(found)
}

/// Whether each container's image is there, so that it can be made anew without being fetched.
async fn images(report: &mut Report<'_>, config: &Config, engine: Option<&Engine>) {
    let what = "images";
    let found = match config.data_dir.exists().then(|| scan(&config.data_dir)) {
        None => Vec::new(),
        Some(Ok(found)) => found,
        Some(Err(error)) => return report.fail(what, &error.to_string()),
    };
    let mut images: BTreeSet<String> = BTreeSet::new();
    for found in found {
        match found {
            Found::Whole(record) => drop(images.insert(record.spec.image.as_str().to_owned())),
            Found::Broken(cuid, error) => report.warn("containers", &format!("{cuid} can't be used: {error}")),
            Found::HalfMade(cuid) | Found::HalfDeleted { cuid, .. } => {
                report.ok("containers", &format!("{cuid} is half made or half deleted: the next start of berth puts that right"));
            }
        }
    }
    let Some(engine) = engine else { return report.warn(what, "not looked for, as the engine does not answer") };
    let mut missing = 0;
    for image in &images {
        match in_time(engine.has_image(image)).await {
            Ok(true) => (),
            Ok(false) => {
                missing += 1;
                let text = format!("{image} is not here, and containers that are made from it will need it: docker pull {image}");
                report.warn(what, &text);
            }
            Err(why) => return report.warn(what, &format!("not all could be looked for: {why}")),
        }
    }
    match images.len() {
        0 => report.ok(what, "there are no containers yet, which would need any"),
        count if missing == 0 => report.ok(what, &format!("all that containers are made from are here ({count})")),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(numbers("v2.40.3-desktop.1"), Some([2, 40, 3]));
        assert_eq!(numbers("1.41"), Some([1, 41]));
        assert_eq!(numbers::<3>("dev"), None);
        assert!(numbers("2.9.0") < Some(COMPOSE_FIXED) && numbers("2.40.2") >= Some(COMPOSE_FIXED));
    }
}
