//! What sessions left behind in an earlier life of the server, which could not end them itself.

use std::sync::Arc;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{Reach, VARIABLE, blocking, cgroup::Home, host, inside, main_process, reach, until_none_is_left};
use crate::{
    domain::id::Cuid,
    engine::{Engine, failed},
    error::Result,
};

/// Ends what sessions in these containers left behind. Sessions of this life must not have begun: the two can't be told apart.
///
/// # Errors
/// [`Error::EngineUnavailable`](crate::error::Error::EngineUnavailable), `EngineRefused`; `Io` where something would not die.
pub async fn sweep(engine: &Engine, cuids: &[Cuid]) -> Result<()> {
    let options = ListContainersOptionsBuilder::new().build(); // Those that run, is what the engine lists unless asked for all.
    let containers = engine.docker()?.list_containers(Some(options)).await.map_err(failed)?;
    let names = containers.iter().flat_map(|container| container.names.iter().flatten());
    let running: Vec<Cuid> =
        names.filter_map(|name| name.trim_start_matches('/').parse().ok()).filter(|cuid| cuids.contains(cuid)).collect();
    let Some(first) = running.first() else { return Ok(()) };
    if matches!(reach(engine, *first).await, Reach::Host(_)) {
        return sweep_from_here(engine, &running).await;
    }
    for cuid in running {
        // Whose sessions they were is not known any more: the container's own user's, or root's.
        for user in [None, Some("0:0".to_owned())] {
            if let Err(error) = inside::end_all(engine, cuid, &format!("{VARIABLE}={cuid}/"), user).await {
                tracing::warn!(%cuid, %error, "could not look for what terminals left behind");
            }
        }
    }
    Ok(())
}

async fn sweep_from_here(engine: &Engine, running: &[Cuid]) -> Result<()> {
    let mut homes = Vec::new();
    for cuid in running {
        if let Some((id, main)) = main_process(engine, *cuid).await? {
            homes.push(Home::of(main, &id));
        }
    }
    let groups = homes.iter().flatten().flat_map(Home::left).collect::<Vec<_>>();
    // One that can't be looked into has all of this host looked at.
    let homes = homes.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
    let prefixes: Vec<String> = running.iter().map(|cuid| format!("{VARIABLE}={cuid}/")).collect();
    let all = Arc::new((homes, groups, prefixes));
    until_none_is_left(|| {
        let all = all.clone();
        blocking(move || Ok(host::kill(None, &all.0, &all.1, &all.2)? == 0))
    })
    .await
}
