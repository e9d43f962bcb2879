"""A thousand containers on one host, three hundred of them running: makes them, asks, restarts the server, kills, deletes,
and writes docs/performance-thousand.md. THOUSAND, RUNNING and CLIENTS say how many; with fewer than a thousand, it only
prints what it would write."""

import json
import os
import random
import subprocess
import threading
import time

import engine
import isolation
from bounds import ends_within
from report import TABLE, at_most, machine, row, write
from server import SPEC, Server, delete, start
from stats import in_turn, ratios, say, spread

THOUSAND = int(os.environ.get("THOUSAND", "1000"))
RUNNING = int(os.environ.get("RUNNING", "300"))
CLIENTS = int(os.environ.get("CLIENTS", "4"))
KILLED = min(50, RUNNING)
MINUTES = 25
RESTARTS = 3
WINDOWS = 5
WINDOW_S = 2
PATIENCE_S = 60


def timed(what, work):
    """Seconds, and what came of it."""
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    say(f"{what}: {took:.1f} s")
    return took, result


def make(server):
    """Creates all and starts some of them: the times, all cuids, and those that run."""
    create = lambda client, _: client.call("POST", "/containers", SPEC)["cuid"]
    creating, cuids = timed("created", lambda: server.side_by_side(CLIENTS, create, range(THOUSAND), "created"))
    running = random.sample(cuids, RUNNING)
    starting, _ = timed("started", lambda: server.side_by_side(CLIENTS, start, running, "started"))
    return creating, starting, cuids, running


def reads(server, cuids):
    """How many lists and statuses berth and the engine answer a second, each in its turn."""
    sides = {
        "`GET /containers?limit=100`": (server.client(), "/containers?limit=100"),
        "the engine's `GET /containers/json?limit=100`": (engine.client(), "/containers/json?all=1&limit=100"),
        "`GET /containers/{cuid}/status`": (server.client(), f"/containers/{cuids[0]}/status"),
        "the engine's `GET /containers/{id}/json`": (engine.client(), f"/containers/{cuids[0]}/json"),
    }
    figures = {side: [] for side in sides}
    for number in range(WINDOWS):
        for side in in_turn(list(sides), number):
            client, path = sides[side]
            figures[side].append(client.per_second(path, WINDOW_S))
    say("reads: done")
    return figures


def shown(server):
    """Every container's status as berth lists it; a running one counts only with its address. None while it can't tell."""
    found, cursor = {}, ""
    while cursor is not None:
        status, page = server.own.ask("GET", f"/containers?limit=100{cursor and '&cursor='}{cursor}")
        if status != 200:
            return None
        page = json.loads(page)
        for container in page["containers"]:
            known = container["status"] != "running" or container["ip_address"]
            found[container["cuid"]] = container["status"] if known else "running without an address"
        cursor = page["next_cursor"]
    return found


def restart(server, cuids):
    """Milliseconds of its stop, from its next start to the first list, and until every status is the engine's."""
    began = time.perf_counter()
    server.stop()
    stopped = (time.perf_counter() - began) * 1000
    states = engine.states()
    expected = {cuid: states[cuid] for cuid in cuids}
    server.start()
    while server.own.ask("GET", "/containers?limit=100")[0] != 200:
        late(server.began)
    first = time.perf_counter()
    while shown(server) != expected:
        late(server.began)
    right = time.perf_counter()
    say(f"restart: first list after {(first - server.began) * 1000:.0f} ms, all right after {(right - server.began) * 1000:.0f} ms")
    return stopped, (first - server.began) * 1000, (right - server.began) * 1000


def late(began):
    if time.perf_counter() > began + PATIENCE_S:
        raise SystemExit(f"bench: berth does not show what the engine does within {PATIENCE_S} s")


def kill(server, running):
    """Kills some at once: milliseconds until the last has ended, and from then until all are shown."""
    killed, ended = random.sample(running, KILLED), []
    before = server.count("exited")
    waits = [threading.Thread(target=lambda end=engine.ending(cuid): ended.append(end())) for cuid in killed]
    for wait in waits:
        wait.start()
    began = time.perf_counter()
    command = subprocess.Popen(["docker", "kill", *killed], stdout=subprocess.DEVNULL)
    while server.count("exited") < before + KILLED:
        late(began)
        time.sleep(0.002)
    seen = time.perf_counter()
    command.wait()
    for wait in waits:
        wait.join(PATIENCE_S)
    if len(ended) != KILLED or any(server.call("GET", f"/containers/{cuid}/status")["status"] != "exited" for cuid in killed):
        raise SystemExit("bench: what was killed is not what ended")
    say(f"kill: all have ended after {(max(ended) - began) * 1000:.0f} ms")
    return (max(ended) - began) * 1000, max(0, (seen - max(ended)) * 1000)


def left(server, cuids):
    """What a deletion left, of containers and folders."""
    return len(engine.states().keys() & set(cuids)) + sum(server.folder(cuid).exists() for cuid in cuids)


def measure():
    with Server() as server:
        empty = server.memory_mb()[0]
        creating, starting, cuids, running = make(server)
        figures = reads(server, running)
        full = server.memory_mb()[0]
        apart, networks = isolation.check(server, running)
        stops, firsts, rights = zip(*(restart(server, cuids) for _ in range(RESTARTS)))
        again = server.memory_mb()[0]
        dying, lag = kill(server, running)
        deleting, _ = timed("deleted", lambda: server.side_by_side(CLIENTS, delete, cuids, "deleted"))
        remains = left(server, cuids)
    lists, engine_lists, statuses, engine_statuses = figures.values()
    rows = [
        at_most("from a new process to the first `GET /containers?limit=100`, ms", 1000, firsts, 0, worst=True),
        at_most("from a new process until every status is as `docker ps -a` has it, ms", 10000, rights, 0, worst=True),
        at_most(f"{KILLED} killed at once by hand: until all are shown, after the last has ended, ms", 200, [lag], worst=True),
        at_most("what a list takes, to the engine's own", 1, ratios(engine_lists, lists), 2),
        at_most("what a status takes, to the engine's own", 1, ratios(engine_statuses, statuses), 2),
        *apart,
        row("containers and folders left by the deletion of all", 0, remains, remains == 0),
    ]
    section = ["", "| what | measured |", "| --- | --- |"]
    each = lambda what, took, count: f"| {what} {count} by {CLIENTS} clients, s | {took:.1f}, {took * 1000 / count:.0f} ms each |"
    section += [each("create", creating, THOUSAND), each("start", starting, RUNNING), each("delete", deleting, THOUSAND)]
    section += [f"| {side}, a second | {spread(values, 0)} |" for side, values in figures.items()]
    section += [
        f"| resident memory without containers, with all, and of the new process, MB | {empty:.1f}, {full:.1f}, {again:.1f} |",
        f"| shared networks of the running ones | {networks} |",
        f"| stop of the server, ms | {spread(stops, 0)} |",
        f"| {KILLED} killed at once: until the last has ended, ms | {dying:.0f} |",
    ]
    return rows, section


def main():
    ends_within(MINUTES)
    rows, section = measure()
    lines = [
        "# A thousand containers on one host", "",
        f"Written by `make bench-thousand`. One run, bounded to {MINUTES} minutes; where something is repeated, the figure is the",
        "median, with the range in brackets. A line that is not met stays and says so.", "",
        f"{machine()}; {THOUSAND} containers of which {RUNNING} run", "", *TABLE, *rows, *section, "",
        f"{RESTARTS} restarts with all of them, of which every one counts; a status is right when it is the engine's and a running",
        f"container's address is there. Lists and statuses are read by one client on a kept connection, {WINDOWS} times {WINDOW_S} s in",
        "turn with the engine's own API on its socket. Of the pairs, every other one is across two networks where there are several;",
        "that the other serves at its address is seen first.",
    ]
    if THOUSAND >= 1000:
        write("performance-thousand.md", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
