"""How soon berth shows what somebody does with `docker` past it."""

import subprocess
import threading
import time

import engine
from report import at_most
from server import Server, start
from stats import ROUNDS, say

CHANGES = {"pause": "paused", "unpause": "running", "kill": "exited"}
PATIENCE_S = 10


def by_hand(server, cuid, change):
    """Milliseconds from the change to the first answer that shows it: none, if it was shown before the change was over."""
    path, ended = f"/containers/{cuid}/status", []
    # A kill is over when the container has ended, which is after its command.
    wait = threading.Thread(target=lambda end=engine.ending(cuid): ended.append(end())) if change == "kill" else None
    if wait:
        wait.start()
    subprocess.run(["docker", change, cuid], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    over = time.perf_counter()
    while server.call("GET", path)["status"] != CHANGES[change]:
        if time.perf_counter() > over + PATIENCE_S:
            raise SystemExit(f"bench: docker {change} does not show")
        time.sleep(0.001)
    shown = time.perf_counter()
    if wait:
        wait.join(PATIENCE_S)
        over = ended[0]
    return max(0, (shown - over) * 1000)


def measure():
    times = {change: [] for change in CHANGES}
    with Server() as server:
        cuid = server.create()
        for _ in range(ROUNDS):
            start(server.own, cuid)
            for change, took in times.items():
                took.append(by_hand(server, cuid, change))
    say("changes by hand: done")
    rows = [at_most(f"`docker {change}` by hand until `GET …/status` shows it, ms", 200, times[change], worst=True) for change in CHANGES]
    return rows, [
        "## Changes by hand", "",
        f"{ROUNDS} rounds, and every one counts: from the docker command's return, and for a kill from the moment when the",
        "engine's own `wait` returns, until a client that asks every millisecond or so is answered with the new status.",
    ]
