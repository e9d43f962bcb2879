//! A session's processes reached from inside the container, by a script that the image's own shell runs.
//!
//! It runs as the session's own user: root in a container may not read the environment of others' processes, and more rights than
//! the container has must not be given to the container's own shell. It needs `/bin/sh` and `tr`, and between finding a process
//! and signalling it a pid may be reused; `host` has neither flaw.

use crate::{
    domain::id::Cuid,
    engine::{
        Engine,
        exec::Command,
        processes::{Marker, Signal},
    },
    error::{Error, Result},
};

/// Arguments: the marker, or how it begins; then `end`, `tty` or `pipes`; then the signal.
/// `$found` is what carries the marker, and then what is in their terminal sessions or descends from them; `$front` is what is signalled.
const SCRIPT: &str = r#"
stat() {
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${line##*) }
  state=$1 parent=$2 session=$4 front=$6
  [ "$state" != Z ]
}
find_all() {
  found=' ' sessions=' ' leader=
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    # Read as lines, because shells and some of their tools stop at a NUL.
    case $({ tr '\0' '\n' <"$dir/environ"; } 2>/dev/null) in *"$1"*) ;; *) continue ;; esac
    stat "$pid" || continue
    found="$found$pid " sessions="$sessions$session "
    [ "$parent" = 0 ] && leader=$pid
  done
}
grow() {
  more=1
  while [ -n "$more" ]; do
    more=
    for dir in /proc/[0-9]*; do
      pid=${dir#/proc/}
      case $found in *" $pid "*) continue ;; esac
      stat "$pid" || continue
      case $found in *" $parent "*) ;; *) case $sessions in *" $session "*) ;; *) continue ;; esac ;; esac
      found="$found$pid " sessions="$sessions$session " more=1
    done
  done
}
find_all "$1"
case $2 in
  end)
    round=0
    while grow && [ "$found" != ' ' ]; do
      kill -KILL $found 2>/dev/null
      round=$((round + 1))
      [ "$round" -gt 200 ] && exit 1
      find_all "$1"
    done ;;
  tty)
    [ -n "$leader" ] && stat "$leader" && [ "$front" -gt 1 ] && kill -s "$3" -- "-$front" ;;
  pipes)
    [ -n "$leader" ] || exit 0
    found=" $leader " sessions=' '
    grow
    children=${found#" $leader "}
    kill -s "$3" ${children:-$leader} 2>/dev/null ;;
esac
exit 0
"#;

/// Kills all that carries a variable in which `marker` occurs, and what belongs to it, until nothing is left.
///
/// # Errors
/// [`Error::EngineRefused`] where the container does not run, has no shell, or something would not die; [`Error::EngineUnavailable`].
pub async fn end_all(engine: &Engine, container: Cuid, marker: &str, user: Option<String>) -> Result<()> {
    run(engine, container, user, [marker, "end", "KILL"]).await
}

/// Signals what runs in the session's foreground; see [`Processes::signal_foreground`](super::Processes::signal_foreground).
///
/// # Errors
/// As [`end_all`].
pub async fn signal_foreground(engine: &Engine, marker: Marker, user: Option<String>, tty: bool, signal: Signal) -> Result<()> {
    let how = if tty { "tty" } else { "pipes" };
    run(engine, marker.cuid, user, [&marker.to_string(), how, signal.name()]).await
}

async fn run(engine: &Engine, container: Cuid, user: Option<String>, arguments: [&str; 3]) -> Result<()> {
    let argv = ["/bin/sh", "-c", SCRIPT, "sh"].into_iter().chain(arguments).map(str::to_owned).collect();
    let command = Command { argv, user, cwd: Some("/".to_owned()), ..Command::default() };
    let mut exec = engine.exec(container, &command).await?;
    let mut said = Vec::new();
    while let Some(piece) = exec.output.next().await? {
        if said.len() < 1024 {
            said.extend(piece.bytes);
        }
    }
    match engine.exec_exit_code(&exec.id).await? {
        Some(0) => Ok(()),
        code => {
            let code = code.map_or_else(|| "no end".to_owned(), |code| code.to_string());
            Err(Error::EngineRefused(format!("a session's processes: {code} {}", String::from_utf8_lossy(&said).trim())))
        }
    }
}
