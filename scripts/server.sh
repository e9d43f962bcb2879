# A server of a script's own, on a free port and with folders of its own: for tests from outside. Whatever happens, it is ended,
# and the containers that it made and its folders are removed. Sourced after lib.sh, from the repository's folder, never run.

readonly REPOSITORY="$PWD" START_S=30 STOP_S=45

work=""

# build: the server as the sources have it now, as tests have it: built for itself, its dependencies would be, too.
build() {
  scripts/cargo test --locked --no-run >&2
  realpath "${CARGO_TARGET_DIR:-target}/debug/berth"
}

# serve BINARY: starts it, and sets BASE_URL, APP_USER and APP_PASS for those who ask it.
serve() {
  work="$(mktemp -d)"
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  start_server "$1"
  await "$START_S" listening && ! ended || die "the server did not start"
  export BASE_URL APP_USER APP_PASS
  await "$START_S" healthy && ! ended || die "the server's /healthz did not become healthy"
}

# start_server BINARY: in the background, with nothing of our own environment and settings.
start_server() {
  APP_USER=client
  APP_PASS="$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')"
  (umask 077 && cat >"$work/.env" <<SETTINGS
APP_USER=$APP_USER
APP_PASS=$APP_PASS
HOST=127.0.0.1
PORT=0
SESSION_GRACE_S=3
PULL_TIMEOUT_S=10
DATA_DIR='$work/data'
LOG_DIR='$work/logs'
TEMPLATE_DIR='$REPOSITORY/templates'
${DOCKER_HOST:+DOCKER_HOST='$DOCKER_HOST'}
SETTINGS
  )
  as_root true # A password is asked for here, and not in the background.
  # The server's own pid, not sudo's: sudo passes on no signal that comes from its own process group.
  (cd "$work" && as_root env -i PATH="$PATH" HOME="$HOME" NO_COLOR=1 sh -c 'echo $$ >pid && exec "$0"' "$1" >log 2>&1) &
  await "$START_S" test -s "$work/pid" || die "the server did not start"
}

# await SECONDS COMMAND...: until the command succeeds.
await() {
  local until=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}

# listening: the server is up, or gone for good.
listening() {
  BASE_URL="$(sed -n 's#.*berth serves address=\([^ ]*\).*#http://\1#p' "$work/log")"
  [ -n "$BASE_URL" ] || ended
}

ended() { ! as_root kill -0 "$(cat "$work/pid")" 2>/dev/null; }

# healthy: /healthz says so, or the server is gone for good. PYTHON is one with requests.
healthy() {
  local ask='import os, requests; ask = requests.Session(); ask.trust_env = False
ask.get(os.environ["BASE_URL"] + "/healthz", auth=(os.environ["APP_USER"], os.environ["APP_PASS"]), timeout=10).raise_for_status()'
  "$PYTHON" -B -c "$ask" 2>/dev/null || ended
}

stop_server() {
  [ -s "$work/pid" ] && ! ended || return 0
  as_root kill -TERM "$(cat "$work/pid")"
  await "$STOP_S" ended && return 0
  say "the server did not stop within $STOP_S s"
  as_root kill -KILL "$(cat "$work/pid")"
  return 1
}

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  [ "$code" = 0 ] || { say "the end of the server's log:"; tail -n 30 "$work/log" >&2 || true; }
  stop_server || code=1
  # A container's folder and the container have one name, with which those of its networks and volumes begin. A volume may be left of one that
  # is deleted, which the log knows.
  local left=() kind named
  mapfile -t left < <(as_root find "$work/data" -mindepth 1 -maxdepth 1 -name 'c*-*' -printf '%f\n' 2>/dev/null)
  if [ "${#left[@]}" != 0 ]; then docker_cli rm --force --volumes "${left[@]}" >/dev/null 2>&1 || true; fi
  as_root sh -c "cat '$work'/logs/actions.jsonl* 2>/dev/null" | grep -o 'c[0-9a-f]\{8\}-[0-9a-f-]\{27\}' | sort -u >"$work/cuids" || true
  for kind in network volume; do
    mapfile -t named < <(docker_cli "$kind" ls --format '{{.Name}}' 2>/dev/null | grep -F -f "$work/cuids")
    [ "${#named[@]}" = 0 ] || docker_cli "$kind" rm "${named[@]}" >/dev/null 2>&1 || true
  done
  as_root rm -rf "$work"
  exit "$code"
}
