"""What schemathesis can't know of berth: containers that there are, and values that their schema alone doesn't make possible."""

import io
import ipaddress
import itertools
import os
import re
import zipfile

import requests
import schemathesis
from requests.adapters import HTTPAdapter
from schemathesis.transport.serialization import Binary

BASE = os.environ["BASE_URL"]
AUTH = (os.environ["APP_USER"], os.environ["APP_PASS"])
IMAGE = os.environ.get("BUSYBOX_IMAGE", "berth-test/busybox")
RIGHT = requests.auth._basic_auth_str(*AUTH)

# --- Who fails to authenticate is told to wait after ten times, by address. So each of these comes from an address of its own.

addresses = itertools.count(1)
plain_send = HTTPAdapter.send


class Elsewhere(HTTPAdapter):
    """Connections from another address of this machine."""

    def init_poolmanager(self, *args, **kwargs):
        number = next(addresses)
        address = f"127.{1 + number // 62500 % 250}.{number // 250 % 250}.{1 + number % 250}"
        super().init_poolmanager(*args, source_address=(address, 0), **kwargs)


def send(self, request, **kwargs):
    if request.headers.get("Authorization") == RIGHT or isinstance(self, Elsewhere):
        return plain_send(self, request, **kwargs)
    return Elsewhere().send(request, **kwargs)


HTTPAdapter.send = send

# --- Containers to ask for: a few that run and a few that don't, and what the run itself creates.

CUID = re.compile(r"^c[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
POOL = 4
MOST = 24
session = requests.Session()
session.auth = AUTH
pool, created = [], []
turn = itertools.count()


def call(method, path, **kwargs):
    return session.request(method, BASE + path, timeout=60, **kwargs)


def archive():
    """A zip with a file in it."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr("unpacked.txt", "text")
    return body.getvalue()


def fill():
    while len(pool) < POOL:
        spec = {"image": IMAGE, "command": ["sleep", "3600"], "tags": ["fuzz"], "volumes": [{"volume": "v", "container_path": "/v"}]}
        cuid = call("POST", "/containers", json=spec).json()["cuid"]
        call("PUT", f"/containers/{cuid}/files?path=dir/file.txt&parents=true", data=b"text")
        call("POST", f"/containers/{cuid}/upload-zip", data=archive(), headers={"Content-Type": "application/zip"})
        if len(pool) % 2 == 0:
            call("POST", f"/containers/{cuid}/start")
        pool.append(cuid)


def some_cuid():
    """Mostly one of the pool, else the last one that was created."""
    fill()
    number = next(turn)
    return created[-1] if created and number % 4 == 3 else pool[number % len(pool)]


@schemathesis.hook
def after_call(context, case, response):
    """Keeps account of what there is, and of how much."""
    cuid = (case.path_parameters or {}).get("cuid")
    if case.method == "POST" and case.path == "/containers" and response.status_code == 201:
        created.append(response.json()["cuid"])
    if case.method == "DELETE" and case.path == "/containers/{cuid}" and response.status_code == 200:
        for known in (pool, created):
            if cuid in known:
                known.remove(cuid)
    while len(created) > MOST:
        call("DELETE", f"/containers/{created.pop(0)}?force=true&remove_volumes=true")


# --- Values that a schema takes and a machine or a rule between two fields doesn't. What its schema refuses stays as it is.


def size(text):
    number, unit = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([bkmgt]?)(?:i?b)?", text.lower()).groups()
    return float(number) * 1024 ** " kmgt".find(unit.replace("b", " ") or " ")


def nanoseconds(text):
    units = {"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)", text))


def is_text(value, pattern):
    return isinstance(value, str) and re.search(pattern, value) is not None


def is_address(text):
    try:
        return isinstance(text, str) and ipaddress.ip_address(text) is not None
    except ValueError:
        return False


# Also those that are too long for a name, which no pattern tells.
IMAGES = call("GET", "/openapi.json").json()["components"]["schemas"]["Image"]["pattern"]


def possible_spec(spec):
    """The specification with what this machine has in place of what it could have."""
    if not isinstance(spec, dict):
        return spec
    if is_text(spec.get("image"), IMAGES):
        spec["image"] = IMAGE
    if spec.get("network") == "none" and spec.get("ports"):
        spec["network"] = "own"
    volumes = spec.get("volumes")
    if isinstance(volumes, list) and all(isinstance(volume, dict) for volume in volumes):
        paths = [volume.get("container_path") for volume in volumes]
        if all(isinstance(path, str) for path in paths) and len(set(paths)) < len(paths):
            spec["volumes"] = volumes[:1]
    resources = spec.get("resources")
    if isinstance(resources, dict):
        if is_text(resources.get("memory"), r"^[0-9]+(?:\.[0-9]+)?(?:[bB]|[kKmMgGtT](?:[iI]?[bB])?)?\Z"):
            if not 6 << 20 <= size(resources["memory"]) <= 1 << 33:
                resources["memory"] = "64m"
        if isinstance(resources.get("cpus"), (int, float)) and not isinstance(resources["cpus"], bool) and 1 < resources["cpus"] <= 4096:
            resources["cpus"] = 1
    for port in spec["ports"] if isinstance(spec.get("ports"), list) else []:
        if isinstance(port, dict) and is_address(port.get("host_ip")):
            port["host_ip"] = "127.0.0.1"
        if isinstance(port, dict) and port.get("protocol") == "sctp":
            port["protocol"] = "udp"
    if isinstance(spec.get("user"), str):
        # A number of ten digits may be more than Docker takes.
        spec["user"] = re.sub(r"(?<![0-9])[0-9]{10}(?![0-9])", "1000", spec["user"])
    log = spec.get("log")
    if isinstance(log, dict) and is_text(log.get("driver"), r"^[a-zA-Z0-9][a-zA-Z0-9._/:-]*\Z") and isinstance(log.get("options", {}), dict):
        log["driver"] = "json-file"
        if all(re.match(r"^[a-zA-Z0-9][a-zA-Z0-9._-]*\Z", name) and isinstance(value, (str, int, float)) for name, value in log.get("options", {}).items()):
            log["options"] = {"max-size": "1m"}
    check = spec.get("health_check")
    if isinstance(check, dict):
        for name in ("interval", "timeout", "start_period"):
            if is_text(check.get(name), r"^(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+\Z"):
                if not 1e6 <= nanoseconds(check[name]) <= 9e18:
                    check[name] = "1s"
        if is_text(check.get("endpoint"), r"^https?://[!-~]+\Z"):
            check["endpoint"] = "http://localhost:8000/"
    return spec


def is_ours(body):
    file = body.get("file") if isinstance(body, dict) else body
    return isinstance(file, Binary) and file.data.endswith(archive()[-22:])


def is_taken(case, part):
    """Whether this part of the request is meant to be taken."""
    components = {location.value: component for location, component in case.meta.components.items()} if case.meta else {}
    return part in components and components[part].mode.is_positive and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a request possible, as far as it is to be taken at all."""
    parts, query, headers = case.path_parameters or {}, case.query or {}, case.headers or {}
    if is_text(parts.get("cuid"), CUID) and parts["cuid"] not in pool + created:
        parts["cuid"] = some_cuid()
    # A cursor is an earlier answer's.
    if is_text(query.get("cursor"), r"^[A-Za-z0-9_-]+\Z"):
        del query["cursor"]
    # With the same key it would be the same request.
    if is_text(headers.get("Idempotency-Key"), r"^[!-~]{1,200}\Z"):
        headers["Idempotency-Key"] += f"-{next(turn)}"
    # Nobody asks for nothing, but schemathesis takes it for what the pattern allows.
    for name in ("If-Match", "If-None-Match"):
        if headers.get(name) == "":
            del headers[name]
    # One of two is about what there is.
    if next(turn) % 2 and is_taken(case, "header"):
        if "If-Match" in headers:
            headers["If-Match"] = "*"
        headers.pop("If-None-Match", None)
    if next(turn) % 2 and is_taken(case, "query") and "path" in query and case.path.endswith(("/download", "/files")):
        query["path"] = "dir/file.txt"
    if case.path.endswith("/rollback") and is_taken(case, "body") and isinstance(case.body, dict) and "deploy" in case.body:
        case.body["deploy"] = 1 + next(turn) % 2
    # A program, a folder and a user that every container has.
    if case.path.endswith("/exec") and is_taken(case, "body") and isinstance(case.body, dict):
        if isinstance(case.body.get("command"), list):
            case.body["command"][:1] = ["true"]
        case.body |= {name: value for name, value in (("working_dir", "/"), ("user", "0")) if case.body.get(name) is not None}
    # What goes on without end is asked for as far as it has come.
    if case.path.endswith(("/events", "/logs", "/stats")) and re.search(r"(?i)^(none|true|1)$", str(query.get("follow"))):
        case.query = query = {**query, "follow": "false"}
    # A session that goes on has its own; a new one has no past.
    if case.path == "/ws/{cuid}":
        for name in ("mode", "shell", "user", "cwd") if "session" in query else ("offset", "watch"):
            query.pop(name, None)
    # An archive is one, with a path in it that is free.
    if case.path.endswith("/upload-zip") and is_taken(case, "body"):
        case.body = {"file": Binary(archive())} if isinstance(case.body, dict) else Binary(archive())
    # What only a restart can have.
    if case.path.endswith(("/upload-zip", "/rollback")) and query.get("restart") not in (True, "true"):
        for name, valid in (("wait", r"^healthy$"), ("timeout", r"^[0-9]+$"), ("overwrite", r"(?i)^(true|false)$")):
            if re.search(valid, str(query.get(name))):
                del query[name]
    if isinstance(query.get("timeout"), int) and 2 < query["timeout"] <= 3600:
        query["timeout"] = 2
    if case.method in ("POST", "PATCH") and isinstance(case.body, dict):
        if case.path in ("/containers", "/containers/{cuid}", "/containers/{cuid}/ports"):
            case.body = possible_spec(case.body)
        if case.path.startswith("/containers/batch/") and isinstance(case.body.get("timeout"), int) and case.body["timeout"] > 2:
            case.body["timeout"] = min(case.body["timeout"], 2) if case.body["timeout"] <= 3600 else case.body["timeout"]


# A folder where a file was asked for, and the other way round, can't be told by a schema.
OF_THE_MOUNT = re.compile(rb'"code":"INVALID_PATH","message":"[^}]*(is a folder|is not a folder|is no folder|leads? )')


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """What was taken for valid by its schema, and is refused for what no schema tells."""
    # An archive of ours, in a request that was to be taken: only to schemathesis it is no string.
    if type(failure).__name__ == "AcceptedNegativeData" and is_ours(case.body):
        return False
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    # A terminal wants a WebSocket's handshake, which schemathesis doesn't speak.
    if case.path == "/ws/{cuid}" and b'"field":"Upgrade"' in response.content:
        return False
    content = response.content
    if case.method == "HEAD":
        content = session.get(response.request.url, timeout=60).content
    return OF_THE_MOUNT.search(content) is None
