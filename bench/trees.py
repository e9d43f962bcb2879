"""What is unpacked and packed: ten thousand small files, and one large one, as folders and as archives of them; and how each goes
to the server and comes from it."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from stats import say

SMALL, LARGE = "10,000 small files", "one file of 512 MiB"
MIB = 1 << 20


@contextlib.contextmanager
def archives():
    """The archives, on the disk that a server's folder is on, for the time of a `with`."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-trees-") as world:
        made = {}
        for what, fill in ((SMALL, fill_small), (LARGE, fill_large)):
            say(f"making an archive of {what}")
            tree, archive = Path(world) / "tree", Path(world) / f"{len(made)}.zip"
            tree.mkdir()
            fill(tree)
            subprocess.run(["zip", "-q", "-r", archive, "."], cwd=tree, check=True)
            shutil.rmtree(tree)
            made[what] = archive
        yield made


def fill_small(tree):
    sizes = random.Random(1)
    for folder in range(100):
        (tree / f"folder-{folder}").mkdir()
        for number in range(100):
            (tree / f"folder-{folder}" / f"file-{number}.txt").write_bytes(half(sizes.randint(1024, 8192)))


def fill_large(tree):
    with (tree / "large").open("wb") as file:
        for _ in range(512):
            file.write(half(MIB))


def half(size):
    """So many bytes that can be compressed to about half."""
    return os.urandom(size // 2 + 1).hex().encode()[:size]


def upload(server, cuid, archive):
    """Sends an archive as fast as the kernel can, and gives the answer's status and text."""
    with server.client() as client, archive.open("rb") as file:
        connection = client.connection
        connection.putrequest("POST", f"/containers/{cuid}/upload-zip")
        headers = {"Content-Type": "application/zip", "Content-Length": str(archive.stat().st_size), **server.headers}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.sock.sendfile(file)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise SystemExit(f"bench: upload: {answer.status} {text}")


def download(server, cuid):
    """Takes a whole archive: the milliseconds to its first byte, those to its last, and how many bytes these were."""
    with server.client() as client:
        began = time.perf_counter()
        answer = client.answer("GET", f"/containers/{cuid}/download-zip")
        if answer.status != 200:
            raise SystemExit(f"bench: download-zip: {answer.status}")
        return drained(answer, began)


def zipped(tree):
    """The same of `zip -1` through a pipe."""
    began = time.perf_counter()
    with subprocess.Popen(["zip", "-1", "-q", "-r", "-", "."], cwd=tree, stdout=subprocess.PIPE, bufsize=0) as program:
        figures = drained(program.stdout, began)
    if program.returncode != 0:
        raise SystemExit(f"bench: zip ended with {program.returncode}")
    return figures


def drained(source, began):
    buffer, total = bytearray(MIB), len(source.read(1))
    first = time.perf_counter()
    while read := source.readinto(buffer):
        total += read
    return (first - began) * 1000, (time.perf_counter() - began) * 1000, total


class Peak:
    """The most memory over what a server had when this began, in MB; of the kernel's own account."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")
        self.before = self.server.memory_mb()[0]
        return self

    def __exit__(self, *_):
        self.over = self.server.peak_mb() - self.before
