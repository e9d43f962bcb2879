"""The engine, past berth: its API over its socket, and the docker CLI for what is done by hand and taken away in the end."""

import contextlib
import http.client
import os
import re
import subprocess
import time
from pathlib import Path

from client import PATIENCE_S, Client, UnixConnection

HOST = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
# The docker CLI is given so many names at a time.
BATCH = 100


def client():
    """The engine's own API."""
    if HOST.startswith("unix://"):
        return Client(UnixConnection(HOST.removeprefix("unix://")))
    return Client(http.client.HTTPConnection(HOST.removeprefix("tcp://"), timeout=PATIENCE_S))


def docker(*words, check=True):
    """The docker CLI: its lines of output, if any."""
    ran = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=300)
    if check and ran.returncode:
        raise SystemExit(f"bench: docker {words[0]}: {ran.stderr.strip()}")
    return ran.stdout.splitlines()


def states():
    """Every container's state by its name."""
    return dict(line.split() for line in docker("ps", "--all", "--format", "{{.Names}} {{.State}}"))


def processes(names):
    """How many processes there are in these containers; only where the engine is on this host."""
    ids, count = set(docker("inspect", "--format", "{{.Id}}", *names)), 0
    for groups in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            count += not ids.isdisjoint(re.findall("[0-9a-f]{64}", groups.read_text()))
    return count


def end(names):
    """Kills running containers, and waits until they have ended."""
    docker("kill", *names)
    docker("wait", *names)


def remove(names):
    """Removes what there is of these containers; also one that a client which was just ended had asked for."""
    names = set(names)
    for attempt in range(3 if names else 0):
        left = sorted(names & states().keys())
        for at in range(0, len(left), BATCH):
            docker("rm", "--force", "--volumes", *left[at : at + BATCH], check=False)
        if not left and attempt:
            return
        time.sleep(0.2)


def ending(name):
    """Watches a running container, and gives a function that waits for its end and says when that was."""
    watching = client()
    answer = watching.answer("POST", f"/containers/{name}/wait?condition=not-running")

    def wait():
        with watching:
            answer.read()
        return time.perf_counter()

    return wait


def networks():
    """The shared networks of berth's servers: `berth`, `berth-2` and so on."""
    return {name for name in docker("network", "ls", "--format", "{{.Name}}") if re.fullmatch(r"berth(-\d+)?", name)}


def remove_networks(names):
    """Removes those of these networks on which there is no container, of whomever."""
    for name in names:
        if not docker("ps", "--all", "--quiet", "--filter", f"network={name}"):
            docker("network", "rm", name, check=False)
