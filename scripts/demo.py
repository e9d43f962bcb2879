"""The deploy loop of the integration guide, step by step: create, upload, start, watch, type into a shell, stop, delete.

It is a client like any other: it knows the server's address and password, and nothing else of it.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile

import dotenv
import requests
from websockets.exceptions import WebSocketException
from websockets.headers import build_authorization_basic
from websockets.sync.client import connect

# The image that the guide uses, and one that needs no registry.
IMAGE, LOCAL_IMAGE = "python:3.12-slim", "berth-test/python"

# Seconds that a pull, and anything else, may take.
PULL_S, PATIENCE_S = 600, 30

# What is deployed: it counts, waits for a message, and stays until it is stopped.
BOOT = """\
import os, signal, sys, time

def stop(*_):
    print("Asked to stop: goodbye")
    sys.exit()

signal.signal(signal.SIGTERM, stop)
print("Hello from container", os.environ["CONTAINER_UID"])
print("Environment:", os.environ["APP_ENV"], "- tags:", os.environ["TAGS"])
for number in range(1, 6):
    print("Iteration", number)
    time.sleep(0.6)
print("Waiting for a file named message.")
while not os.path.exists("/app/message"):
    time.sleep(0.1)
print("The shell says:", open("/app/message").read().strip())
while True:
    time.sleep(1)
"""

MESSAGE = "ahoy from the shell"


class Refused(Exception):
    """The server answered with an error; the text is what to tell."""


class Server:
    """The server's calls, with its credentials."""

    def __init__(self, settings):
        host = settings.get("HOST") or "127.0.0.1"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        address = f"http://{f'[{host}]' if ':' in host else host}:{settings.get('PORT') or 8080}"
        self.base = (settings.get("BASE_URL") or address).rstrip("/")
        self.session = requests.Session()
        self.session.auth = (settings.get("APP_USER") or "admin", settings.get("APP_PASS") or "")

    def call(self, method, path, timeout=PATIENCE_S, **options):
        """One request; returns the answer's JSON."""
        response = self.session.request(method, self.base + path, timeout=timeout, **options)
        if response.ok:
            return response.json()
        with contextlib.suppress(ValueError, KeyError):
            raise Refused(f"{response.status_code} {response.json()['code']}: {response.json()['message']}")
        raise Refused(f"{response.status_code} from something that is no berth")

    def terminal(self, cuid, query=""):
        """A WebSocket to the container."""
        address = self.base.replace("http", "ws", 1) + f"/ws/{cuid}{query}"
        headers = {"Authorization": build_authorization_basic(*self.session.auth)}
        return connect(address, additional_headers=headers, open_timeout=PATIENCE_S)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server({**dotenv.dotenv_values(".env"), **os.environ})
    tag = f"demo-{uuid.uuid4()}"
    try:
        health = server.call("GET", "/healthz")
        say(f"berth {health['version']} at {server.base}: engine {health['engine_version']}, compose {health['compose_version']}")
        show(server, tag)
    except requests.ConnectionError:
        return f"berth: no server answers at {server.base}: start it with 'make run' in another terminal"
    except Refused as refusal:
        return f"berth: the server at {server.base} says {refusal}"
    except (requests.RequestException, WebSocketException, TimeoutError) as error:
        return f"berth: the connection to {server.base} failed: {error}: look at the server's log"
    except subprocess.CalledProcessError:
        return 1  # The script has told why.
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    finally:
        clean_up(server, tag)
    return 0


def show(server, tag):
    """The loop."""
    cuid = create(server, tag)["cuid"]

    step("upload", f"POST /containers/{cuid}/upload-zip")
    headers = {"Content-Type": "application/zip"}
    uploaded = server.call("POST", f"/containers/{cuid}/upload-zip", data=zipped("boot.py", BOOT), headers=headers)
    say(f"   {uploaded['files']} file, {uploaded['bytes']} bytes: boot.py")

    step("start", f"POST /containers/{cuid}/start")
    say(f"   {server.call('POST', f'/containers/{cuid}/start')['status']}")

    step("watch its output", f"WS /ws/{cuid}")
    with server.terminal(cuid) as output:
        watch(output, "Waiting for a file")

        step("type into a shell", f"WS /ws/{cuid}?cols=80&rows=24")
        shell(server, cuid)

        step("back to its output", "the same WebSocket")
        watch(output, MESSAGE)

        step("stop", f"POST /containers/{cuid}/stop")
        stopped = server.call("POST", f"/containers/{cuid}/stop")
        watch(output, None)
        say(f"   {stopped['status']}")

    step("delete", f"DELETE /containers/{cuid}")
    say(f"   {server.call('DELETE', f'/containers/{cuid}')['status']}")


def create(server, tag):
    """The container, from the guide's image, or from one made here where the server can't have that."""
    step("create", "POST /containers")
    try:
        return create_from(server, tag, IMAGE)
    except Refused as refusal:
        if "IMAGE_NOT_FOUND" not in str(refusal):
            raise
    say(f"   the server can't get {IMAGE}; taking {LOCAL_IMAGE}, which needs no registry")
    subprocess.run(["scripts/setup-images"], check=True)
    return create_from(server, tag, LOCAL_IMAGE)


def create_from(server, tag, image):
    specification = {
        "image": image,
        "env": {"APP_ENV": "production"},
        "tags": ["automated", tag],
        "resources": {"cpus": 0.5, "memory": "1024m"},
    }
    say(f"   {json.dumps(specification)}")
    container = server.call("POST", "/containers", timeout=PULL_S, json=specification)
    say(f"   {container['status']}: {container['cuid']}")
    return container


def watch(socket, until):
    """Prints a container's output as it comes, until a line has a text in it or, without one, until it ends."""
    begun = ""
    for frame in frames(socket):
        if frame["type"] in ("stdout", "stderr"):
            *lines, begun = (begun + frame["data"]).split("\n")
            for line in lines:
                say(f"   {time.strftime('%H:%M:%S')}  {line}")
            if until and any(until in line for line in lines):
                return
        elif frame["type"] == "exit":
            say(f"   ended with exit code {frame['code']}")
            return


def shell(server, cuid):
    """Types into an interactive shell, and shows what the terminal shows."""
    typed = f"id -u; pwd; ls -l; stty size; echo {MESSAGE} >message; exit\n"
    with server.terminal(cuid, "?cols=80&rows=24") as socket:
        socket.send(json.dumps({"type": "stdin", "data": typed}))
        screen = ""
        for frame in frames(socket):
            if frame["type"] == "stdout":
                screen += frame["data"]
            elif frame["type"] == "exit":
                break
    # Without the codes by which a shell switches modes of the terminal.
    for line in screen.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "").splitlines():
        if line.strip():
            say(f"   {line}")


def frames(socket):
    """What comes over a WebSocket, until it is closed or silent for too long."""
    for text in iter(lambda: socket.recv(timeout=PATIENCE_S), None):
        frame = json.loads(text)
        if frame["type"] == "error":
            raise Refused(frame["error"]["message"])
        yield frame


def clean_up(server, tag):
    """Deletes what is left of the demo's container."""
    with contextlib.suppress(requests.RequestException, Refused):
        for container in server.call("GET", "/containers", params={"tag": tag})["containers"]:
            server.call("DELETE", f"/containers/{container['cuid']}", params={"force": "true"})
            say(f"   removed {container['cuid']}")


def zipped(name, content):
    """An archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def step(name, call):
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}▸ {name}{plain}  {call}")


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
