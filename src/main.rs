//! The `berth` program: settings, log, listener, run.

use std::{net::TcpListener, process::ExitCode, time::Duration};

use berth::{
    app::Application,
    config::{Config, Variables},
    logging,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// How long blocking work may still take once all else is over.
const STUCK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("berth: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let variables = Variables::load().map_err(|error| error.to_string())?;
    let config = Config::from_lookup(|name, _default| variables.get(name)).map_err(|error| error.to_string())?;
    logging::start(&config.logs.filter, config.logs.format)?;
    allow_many_files();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
    let served = runtime.block_on(serve(&config));
    // Work at a disk that hangs must not keep the server from ending: the next one may have begun.
    runtime.shutdown_timeout(STUCK);
    served
}

/// Takes as many open files as there may be: a terminal needs three, and the usual limit is 1,024. Our children inherit it, which changes
/// nothing for them: they are Go programs, which do the same to themselves.
fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "the limit of open files stays as it is, and with it that of terminals");
    }
}

async fn serve(config: &Config) -> Result<(), String> {
    let listener = TcpListener::bind(config.listen).map_err(|error| format!("can't listen on {}: {error}", config.listen))?;
    let application = Application::build(config, listener).map_err(|error| error.to_string())?;
    tracing::info!(address = %application.address(), data = %config.data_dir.display(), "berth serves");
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => (),
            _ = terminate.recv() => (),
        }
    };
    application.run_until(shutdown).await.map_err(|error| error.to_string())
}
