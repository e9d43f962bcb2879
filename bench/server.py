"""A berth of its own for a measurement: on a free port, in a temporary folder, ended with all that it created."""

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "berth"
IMAGE = "berth-test/busybox"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts on entry and stops on exit; `start_ms` is the time from the fork to the first answer."""

    def __init__(self, world=None):
        self.own_world = world is None
        self.world = Path(world or tempfile.mkdtemp(prefix="berth-bench-"))

    def __enter__(self):
        self.port, password = free_port(), secrets.token_urlsafe(18)
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"bench:{password}".encode()).decode()}
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ
        } | {
            "APP_USER": "bench", "APP_PASS": password, "HOST": "127.0.0.1", "PORT": str(self.port), "RUST_LOG": "error",
            "DATA_DIR": str(self.world / "data"), "LOG_DIR": str(self.world / "logs"), "TEMPLATE_DIR": str(ROOT / "templates"),
        }
        began = time.perf_counter()
        self.process = subprocess.Popen([BINARY], env=environment, cwd=self.world)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        deadline = began + 10
        while True:
            try:
                self.connection.request("GET", "/healthz")
                self.connection.getresponse().read()
                break
            except OSError:
                self.connection.close()
                if self.process.poll() is not None or time.perf_counter() > deadline:
                    raise SystemExit("bench: the server did not start")
                time.sleep(0.0005)
        self.start_ms = (time.perf_counter() - began) * 1000
        self.call("GET", "/containers")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=90)
        if self.own_world:
            left = [entry.name for entry in (self.world / "data").iterdir()]
            if left:
                subprocess.run(["docker", "rm", "--force", "--volumes", *left], stdout=subprocess.DEVNULL, check=False)
            shutil.rmtree(self.world)

    def call(self, method, path, body=None, check=True):
        """One request on the kept connection: its status and its JSON."""
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if check and answer.status >= 400:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {text.decode()}")
        return answer.status, json.loads(text)

    def memory_mb(self):
        """Resident memory in MB, and how much of it is no file's."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return tuple(int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))
