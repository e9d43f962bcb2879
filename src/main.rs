//! The `berth` program: the command line, settings, log, listener, run, and the exit code.

use std::{
    io::{self, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use berth::{
    action_log::verify,
    app::Application,
    cli::{Cli, Command},
    config::{Config, Variables},
    doctor, logging,
};
use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How long blocking work may still take once all else is over.
const STUCK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let done = match Cli::parse().command.unwrap_or_default() {
        Command::Serve => run().map(|()| true),
        Command::Doctor => examine(),
        Command::VerifyLog { folder } => verify_log(folder),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(line) => {
            let _ = writeln!(io::stderr(), "berth: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let variables = Variables::load().map_err(|error| error.to_string())?;
    let config = Config::from_lookup(|name, _default| variables.get(name)).map_err(|error| error.to_string())?;
    logging::start(&config.logs.filter, config.logs.format)?;
    allow_many_files();
    let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
    let served = runtime.block_on(serve(&config));
    // Work at a disk that hangs must not keep the server from ending: the next one may have begun.
    runtime.shutdown_timeout(STUCK);
    served
}

/// Whether nothing fails.
fn examine() -> Result<bool, String> {
    let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
    let healthy = runtime.block_on(doctor::examine(&mut io::stdout()));
    runtime.shutdown_timeout(STUCK);
    Ok(healthy)
}

/// Whether nothing was found.
fn verify_log(folder: Option<PathBuf>) -> Result<bool, String> {
    let folder = match folder {
        Some(folder) => folder,
        None => Variables::load().map_err(|error| error.to_string())?.log_dir(),
    };
    let (mut out, mut said) = (io::stdout().lock(), Ok(()));
    let summary = verify(&folder, &mut |finding| {
        if said.is_ok() {
            said = writeln!(out, "{finding}");
        }
    });
    let summary = summary.map_err(|error| format!("the action log in {} can't be read: {error}", folder.display()))?;
    if (summary.files, summary.findings) == (0, 0) {
        return Err(format!("there is no action log in {}", folder.display()));
    }
    let verdict = match summary.findings {
        0 => "ok".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    said.and_then(|()| writeln!(out, "{verdict}: {summary}"))
        .and_then(|()| out.flush())
        .map_err(|error| format!("what was found can't be said ({error}): {verdict}: {summary}"))?;
    Ok(summary.findings == 0)
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
    let listen = |kind| signal(kind).map_err(|error| format!("can't wait for signals: {error}"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tracing::info!(address = %application.address(), data = %config.data_dir.display(), "berth serves");
    let mut signalled = async || tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () };
    let (ask, asked) = oneshot::channel();
    let asked_twice = async {
        signalled().await;
        let _ = ask.send(());
        signalled().await;
    };
    tokio::select! {
        ended = application.run_until(async { drop(asked.await) }) => ended.map_err(|error| error.to_string()),
        () = asked_twice => Err("a second signal ended it before all was done: the next start puts right what is left".to_owned()),
    }
}
