"""A berth of its own for a measurement: on a free port, in a temporary folder, ended with all that it created."""

import base64
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from bounds import uninterrupted
from client import PATIENCE_S, Client
from report import ROOT
from stats import say

BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "berth"
IMAGE = "berth-test/busybox"
SPEC = {"image": IMAGE, "command": ["sleep", "100000"]}
# What the server gets of our environment, so that a measurement can be repeated with other settings.
PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "COMPOSE_CONCURRENCY", "NETWORK_CONTAINERS")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts on entry and stops on exit, with further settings if need be; `start_ms` is the time from the fork, at `began`, to
    the first answer."""

    def __init__(self, **settings):
        self.settings, self.port, self.password = settings, free_port(), secrets.token_urlsafe(18)
        self.process = self.world = None
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"bench:{self.password}".encode()).decode()}

    def __enter__(self):
        try:
            self.networks = engine.networks()
            self.world = Path(tempfile.mkdtemp(prefix="berth-bench-"))
            self.start()
            self.call("GET", "/containers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.world is None:
            return
        with uninterrupted():
            self.stop()
            data = self.world / "data"
            engine.remove(entry.name for entry in (data.iterdir() if data.exists() else ()))
            engine.remove_networks(engine.networks() - self.networks)
            shutil.rmtree(self.world)

    def environment(self):
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed_on | {
            "APP_USER": "bench", "APP_PASS": self.password, "HOST": "127.0.0.1", "PORT": str(self.port), "RUST_LOG": "error",
            "DATA_DIR": str(self.world / "data"), "LOG_DIR": str(self.world / "logs"), "TEMPLATE_DIR": str(ROOT / "templates"),
        } | self.settings

    def start(self):
        """Returns with the first answer, which asks for a password."""
        environment, self.began = self.environment(), time.perf_counter()
        # In a session of its own: a terminal's Ctrl-C is ours to act on.
        self.process = subprocess.Popen([BINARY], env=environment, cwd=self.world, start_new_session=True)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        while True:
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                connection.close()
                if self.process.poll() is not None or time.perf_counter() > self.began + 10:
                    raise SystemExit("bench: the server did not start") from None
                time.sleep(0.0005)
        self.start_ms = (time.perf_counter() - self.began) * 1000
        connection.close()
        self.own = self.client()

    def stop(self):
        """In its orderly way, and in no other but at need."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            say("the server did not stop in time, and is killed")
            self.process.kill()
            self.process.wait()

    def client(self):
        """Another connection to it, for a thread of its own."""
        return Client(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S), self.headers)

    def call(self, method, path, body=None):
        return self.own.call(method, path, body)

    def create(self):
        """Creates a container that does nothing: its cuid."""
        return self.call("POST", "/containers", SPEC)["cuid"]

    def count(self, status):
        """How many containers it shows in this status."""
        return self.call("GET", f"/containers?status={status}&limit=1")["total"]

    def folder(self, cuid):
        return self.world / "data" / cuid

    def side_by_side(self, width, work, items, what=None):
        """Does `work(client, item)` for all items, `width` at a time, each thread on a connection of its own."""
        own, results, began = threading.local(), [], time.perf_counter()

        def one(item):
            if not hasattr(own, "client"):
                own.client = self.client()
            return work(own.client, item)

        with ThreadPoolExecutor(width) as pool:
            for result in pool.map(one, items):
                results.append(result)
                if what and len(results) % 100 == 0:
                    say(f"{what}: {len(results)} of {len(items)}, {time.perf_counter() - began:.0f} s")
        return results

    def memory_mb(self):
        """Resident memory in MB, and how much of it is no file's."""
        return self.account("VmRSS"), self.account("RssAnon")

    def peak_mb(self):
        """The most resident memory since the kernel was last told to begin anew."""
        return self.account("VmHWM")

    def account(self, name):
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return int(fields[name].split()[0]) * 1024 / 1e6


def start(client, cuid):
    """Work of one of many clients."""
    return client.call("POST", f"/containers/{cuid}/start")


def delete(client, cuid):
    """Work of one of many clients."""
    return client.call("DELETE", f"/containers/{cuid}?force=true")
