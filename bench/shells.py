"""Many shells at their prompts at once, each a session with a client, and what a server holds meanwhile."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from framed import Json
from programs import container
from stats import say

# So many sessions a container may have.
FULL = 32
CLIENTS = 8
# What a client of a shell receives at a time; it needs no more.
ROOM = 1 << 13
PROMPT = b"$ "
# How long what was dropped may take to be gone.
PATIENCE_S = 120
# What is dropped is to be over soon.
SETTINGS = {"SESSION_GRACE_S": "1", "MAX_SESSIONS": "2000"}


def containers(server, count):
    """As many as so many sessions need."""
    return [container(server) for _ in range(-(-count // FULL))]


@contextlib.contextmanager
def shells(server, cuids, count):
    """So many of them. At the end of a `with` they are dropped: their connections are closed without a word."""

    def shell(at):
        one = Json(server, cuids[at % len(cuids)], room=ROOM)
        there.append(one)
        one.until(PROMPT)

    there = []
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for at, _ in enumerate(pool.map(shell, range(count)), 1):
                if at % 100 == 0:
                    say(f"shells: {at} of {count}")
        yield there
    finally:
        for one in there:
            one.close()


def held(server):
    """The server's resident memory in MB, its threads and its descriptors."""
    process = Path(f"/proc/{server.process.pid}")
    return server.memory_mb()[0], len(os.listdir(process / "task")), len(os.listdir(process / "fd"))


def settled(server):
    """Its memory in MB, once that does not grow any more."""
    memory, before = server.memory_mb()[0], 0
    while memory > before + 0.1:
        time.sleep(1)
        memory, before = server.memory_mb()[0], memory
    return memory


def gone(cuids, processes):
    """Seconds until there are no more processes in the containers than so many; None where that is not within our patience."""
    began = time.perf_counter()
    while engine.processes(cuids) > processes:
        if time.perf_counter() - began > PATIENCE_S:
            return None
        time.sleep(0.2)
    return time.perf_counter() - began
