"""Many sessions at once: a thousand that idle and a key typed among them, those whose client doesn't read, and those that are dropped
over and over. What they cost the server in memory, threads and descriptors, and what they leave."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from bare import Bare
from framed import Json
from keystrokes import rounds
from programs import READY, argv, container
from report import at_most, row
from server import Server
from stats import median, say, spread
from ways import OURS, opened, spoken, to_the_limit

SESSIONS = int(os.environ.get("SESSIONS", "1000"))
# So many sessions a container may have.
FULL = 32
STALLED = 20
DROPPED = int(os.environ.get("DROPPED", "200"))
TIMES = 20
CLIENTS = 8
# A client of an idle session needs no more.
ROOM = 1 << 13
# How long what was dropped may take to be gone.
PATIENCE_S = 120
PROMPT = b"$ "


def watched(server):
    """The server's resident memory in MB, its threads and its descriptors."""
    process = Path(f"/proc/{server.process.pid}")
    return server.memory_mb()[0], len(os.listdir(process / "task")), len(os.listdir(process / "fd"))


def settled(server):
    """Its memory, once that doesn't grow any more."""
    memory, before = server.memory_mb()[0], 0
    while memory > before + 0.1:
        time.sleep(1)
        memory, before = server.memory_mb()[0], memory
    return memory


def shell(server, cuid):
    """A session that waits at its prompt."""
    one = Json(server, cuid, room=ROOM)
    one.until(PROMPT)
    return one


@contextlib.contextmanager
def shells(server, cuids, count):
    """So many of them, dropped at the end of a `with`: closed without a word."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as pool:
        stack.callback(lambda: [one.close() for one in there])
        there = []
        for one in pool.map(lambda at: shell(server, cuids[at % len(cuids)]), range(count)):
            there.append(one)
            if len(there) % 250 == 0 and count > 250:
                say(f"sessions: {len(there)} of {count}")
        yield there


def gone(cuids, processes):
    """Seconds until there are no more processes in the containers than these; None where that is not within our patience."""
    began = time.perf_counter()
    while engine.processes(cuids) > processes:
        if time.perf_counter() - began > PATIENCE_S:
            return None
        time.sleep(0.2)
    return time.perf_counter() - began


def idle(server, cuids, apart):
    """A thousand that idle. The keys are typed in `apart`, which has room for three more."""
    with contextlib.ExitStack() as stack:
        processes, (empty, threads, _) = engine.processes(cuids), watched(server)
        own = stack.enter_context(contextlib.ExitStack())
        own.enter_context(shells(server, cuids, SESSIONS - len(OURS)))
        ways = {way.name: own.enter_context(opened(way, server, apart, argv("echo"))) for way in (Bare, *spoken(server, apart)) if way in (Bare, *OURS)}
        for way in ways.values():
            way.until(READY)
        full, threads_now, descriptors = watched(server)
        medians, worst = rounds(ways, 100, 3, 0)
        say("sessions: keystrokes among them")
        own.close()
        over = gone(cuids, processes)
    return [
        at_most(f"resident memory with {SESSIONS:,} idle sessions, MB", 100, [full]),
        row(f"threads with {SESSIONS:,} sessions more than with none", 10, threads_now - threads, threads_now - threads <= 10),
        *to_the_limit(f"a keystroke's median among {SESSIONS:,} sessions", (2, 2), medians),
        row(f"{SESSIONS:,} dropped at once: until no process of them is left, s", 30, "not all in time" if over is None else f"{over:.1f}", over is not None and over <= 30),
    ], [
        f"{SESSIONS:,} shells at their prompts in {len(cuids)} containers: {(full - empty) * 1000 / SESSIONS:.0f} KB of memory each on top of {empty:.1f} MB, and {descriptors:,} descriptors in all.",
        "A key typed among them, µs: " + ", ".join(f"{name} {spread(medians[name], 0)}" for name in ways) + ".",
    ]


def stalled(server, cuid, way):
    """MB of the server's memory for each session that writes without end to a client that doesn't read."""
    before = settled(server)
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            one = stack.enter_context(contextlib.closing(way(server, cuid, argv("forever"), True, ROOM, 1 << 12)))
            one.until(READY)
            one.write(b"\n")
        each = (settled(server) - before) / STALLED
    return each


def dropped(server, cuids):
    """Opens and drops many sessions over and over: what the server holds before the first time and after each one, and how many
    processes are left in the end."""
    processes, held = engine.processes(cuids), [watched(server)]
    for number in range(TIMES):
        with shells(server, cuids, DROPPED):
            pass
        if gone(cuids, processes) is None:
            break
        held.append((settled(server), *watched(server)[1:]))
        say(f"sessions: dropped {number + 1} times of {TIMES}, {held[-1][0]:.1f} MB")
    return engine.processes(cuids) - processes, held


def measure():
    # What is dropped is to be over soon.
    settings = {"SESSION_GRACE_S": "1", "MAX_SESSIONS": str(SESSIONS + 100)}
    with Server(**settings) as server:
        cuids = [container(server) for _ in range(-(-SESSIONS // FULL))]
        rows, section = idle(server, cuids, container(server))
    with Server(**settings) as server:
        cuid = container(server)
        for way in [way for way in spoken(server, cuid) if way in OURS]:
            each = stalled(server, cuid, way)
            rows.append(at_most(f"memory for a client that doesn't read, {way.name}, MB", 2, [each], 2))
        say("sessions: stalled")
    with Server(**settings) as server:
        cuids = [container(server) for _ in range(-(-DROPPED // FULL))]
        left, held = dropped(server, cuids)
    memory, threads, descriptors = zip(*held)
    what = f"{DROPPED} sessions opened and dropped {TIMES} times"
    rows += [
        row(f"{what}: how often all was gone in the end", TIMES, len(held) - 1, len(held) - 1 == TIMES),
        row(f"{what}: processes left in the containers", 0, left, left == 0),
        row(f"{what}: descriptors more than after the first time", 0, descriptors[-1] - descriptors[1], descriptors[-1] <= descriptors[1]),
        at_most(f"{what}: memory in the end to that after the first time", 1.1, [memory[-1] / memory[1]], 2),
    ]
    return rows, [
        "## Many sessions", "", *section, "",
        f"{STALLED} clients that don't read, each with a program that writes without end; the kernel's buffers are not the server's memory.",
        f"{what}: {memory[0]:.1f} MB before, {memory[1]:.1f} after the first time, {median(memory[1:]):.1f} at the median and {memory[-1]:.1f} in the end; descriptors {descriptors[0]}, {descriptors[1]} and {descriptors[-1]}; threads {threads[0]}, {threads[1]} and {threads[-1]}.",
    ]
