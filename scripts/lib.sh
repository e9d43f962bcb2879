# Shared by the scripts: messages, root rights, and what "the engine answers" means. Sourced, never run.

# say MESSAGE: one line of progress.
say() { printf 'berth: %s\n' "$*" >&2; }

# die MESSAGE: the plain last line that says what to do.
die() { printf 'berth: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: run with root's rights, by sudo where we are not root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else die "'$1' needs root: run this as root, or install sudo"
  fi
}

# engine_answers: a Docker Engine answers on the configured endpoint.
engine_answers() { docker_cli version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# docker_cli ARGS...: the docker CLI with the rights that its socket wants.
docker_cli() {
  if [ "$(id -u)" = 0 ] || [ -n "${DOCKER_HOST:-}" ] || [ -w /var/run/docker.sock ]; then docker "$@"
  else as_root docker "$@"
  fi
}

# compose_answers: Compose v2 is there, as the CLI's plugin.
compose_answers() {
  case "$(docker_cli compose version --short 2>/dev/null)" in 2.* | v2.* | [3-9].* | v[3-9].*) return 0 ;; *) return 1 ;; esac
}

# apt_install PACKAGE...: install without questions, refreshing the lists once if a package is not known.
apt_install() {
  command -v apt-get >/dev/null 2>&1 || die "install these by hand, this machine has no apt-get: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 && return 0
  as_root apt-get update -q >/dev/null 2>&1 || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2 ||
    die "apt-get could not install $*: check the machine's package sources and run this again"
}

# release: Debian's code name of this machine, such as bookworm.
release() { . /etc/os-release && printf '%s' "${VERSION_CODENAME:-unknown}"; }

# mirror: the first Debian mirror in the machine's own sources, in either of apt's formats; nothing where there is none.
# Cloud images name a file with the mirrors in it.
mirror() {
  local from
  from="$({ sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
    sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*\).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
  } 2>/dev/null | grep -v security | grep -m1 'debian' || true)"
  case "$from" in
    mirror+file:*) from="$(sed -n 's/^\([a-z]*:[^[:space:]]*\).*/\1/p' "${from#mirror+file:}" | head -n 1)" ;;
  esac
  printf '%s' "$from"
}
