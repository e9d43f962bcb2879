"""A thousand sessions that idle: what they cost the server, a key typed among them, and their end when all are dropped at once."""

import contextlib
import os

import engine
from docker_exec import DockerExec
from keystrokes import rounds, table
from programs import READY, argv, container
from report import at_most, row
from server import Server
from shells import SETTINGS, containers, gone, held, shells
from stats import say
from ways import opened, spoken, to_the_limit

SESSIONS = int(os.environ.get("SESSIONS", "1000"))
# A pool for what blocks may be there, but not a thread a session.
THREADS = 16
GONE_S = 30


def among(server, cuid):
    """A key's median and 99th percentile by each way, one round after the other."""
    with contextlib.ExitStack() as stack:
        ways = [way for way in spoken(server, cuid) if way is not DockerExec]
        ways = {way.name: stack.enter_context(opened(way, server, cuid, argv("echo"))) for way in ways}
        for way in ways.values():
            way.until(READY)
        return rounds(ways, 100, 3, 0)


def measure():
    with Server(**SETTINGS) as server:
        cuids, apart = containers(server, SESSIONS), container(server)
        processes, (empty, threads, _) = engine.processes(cuids), held(server)
        with shells(server, cuids, SESSIONS) as there:
            for one in there:
                one.ws.answer_pings()
            medians, worst = among(server, apart)
            say("idle: keystrokes")
            full, more, descriptors = held(server)
            # Those that the server has given up meanwhile would show here.
            for one in there:
                one.ws.answer_pings()
        over = gone(cuids, processes)
    what, shown = f"{SESSIONS:,} idle sessions", "not all in time" if over is None else f"{over:.1f}"
    return [
        at_most(f"resident memory with {what}, MB", 100, [full]),
        row(f"threads with {what}, besides those without any", THREADS, more - threads, more - threads <= THREADS),
        *to_the_limit(f"a keystroke's median among {what}", (2, 2), medians),
        row(f"{what} dropped at once: until none of their processes is left, s", GONE_S, shown, over is not None and over <= GONE_S),
    ], [
        f"## {SESSIONS:,} idle sessions", "",
        *table(medians, worst), "",
        f"Shells at their prompts in {len(cuids)} containers, each with a client: {(full - empty) * 1000 / SESSIONS:.0f} KB of resident memory each",
        f"on top of {empty:.1f} MB, and {descriptors:,} descriptors in all. The keys are typed in one more container.",
    ]
