"""What the tests share: where the server is, containers that are gone after their test, and waiting for a condition.

It makes no claim about the server; the tests do.
"""

import base64
import io
import os
import shlex
import socket
import subprocess
import time
import unittest
import zipfile

import requests

BASE_URL = os.environ["BASE_URL"]
USER = os.environ["APP_USER"]
PASSWORD = os.environ["APP_PASS"]
PYTHON_IMAGE = os.environ["TEST_IMAGE"]
BUSYBOX_IMAGE = os.environ["BUSYBOX_IMAGE"]

AUTHORIZATION = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}

# A well-formed cuid that no container has.
NOBODY = "c00000000-0000-4000-8000-000000000000"

# Seconds that a condition may take to come true, and between two looks at it.
PATIENCE = 30
LOOK = 0.05


def call(method, path, **options):
    """One request, with the credentials in its headers as the guide's clients put them."""
    headers = {**AUTHORIZATION, **options.pop("headers", {})}
    return requests.request(method, BASE_URL + path, headers=headers, timeout=PATIENCE, **options)


def socket_url(cuid, query=""):
    """The address of a container's terminal."""
    return BASE_URL.replace("http://", "ws://") + f"/ws/{cuid}{query}"


def zipped(files):
    """A zip archive in memory, from names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(cuid, files):
    """Uploads files into a container's mount."""
    return call("POST", f"/containers/{cuid}/upload-zip", data=zipped(files), headers={"Content-Type": "application/zip"})


def free_port(kind=socket.SOCK_STREAM):
    """A port of the host that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def eventually(what, probe):
    """Looks until `probe` gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE
    while not (result := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"this did not come true within {PATIENCE} s: {what}")
        time.sleep(LOOK)
    return result


def programs(cuid):
    """The command lines of all that runs in a container, sorted, as `docker top` sees them."""
    command = [*shlex.split(os.environ.get("DOCKER", "docker")), "top", cuid, "-o", "pid,args"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.splitlines()
    return sorted(line.split(maxsplit=1)[1] for line in lines[1:])


class Containers(unittest.TestCase):
    """Tests whose containers are gone when they end."""

    def create(self, **specification):
        """A new container, as the server answers it."""
        specification.setdefault("image", BUSYBOX_IMAGE)
        response = call("POST", "/containers", json=specification)
        self.assertEqual(response.status_code, 201, response.text)
        container = response.json()
        self.addCleanup(self.remove, container["cuid"])
        return container

    def run_container(self, **specification):
        """A new container that runs; returns its cuid."""
        specification.setdefault("command", ["sleep", "1000"])
        cuid = self.create(**specification)["cuid"]
        self.act(cuid, "start")
        return cuid

    def act(self, cuid, action):
        """A control action that succeeds, as the server answers it."""
        response = call("POST", f"/containers/{cuid}/{action}")
        self.assertEqual(response.status_code, 200, response.text)
        return response.json()

    def remove(self, cuid):
        """Deletes a container, which the test may have done itself."""
        response = call("DELETE", f"/containers/{cuid}", params={"force": "true"})
        self.assertIn(response.status_code, (200, 404), response.text)

    def text_of(self, cuid, path):
        """The text of a file in a container's mount; empty where there is none."""
        response = call("GET", f"/containers/{cuid}/download", params={"path": path})
        self.assertIn(response.status_code, (200, 404), response.text)
        return response.content.decode() if response.status_code == 200 else ""

    def assert_refused(self, response, status, error, code):
        """The contract's error body, whole; returns its details."""
        body = response.json()
        self.assertEqual((response.status_code, body["error"], body["code"]), (status, error, code), response.text)
        self.assertEqual(body["status"], status)
        self.assertEqual(body["request_id"], response.headers["X-Request-Id"])
        self.assertTrue(body["message"])
        self.assertRegex(body["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
        return body["details"]
