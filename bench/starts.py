"""Twenty starts at once: over REST, and by `docker compose up -d` in a shell, one, four and twenty at a time."""

import engine
from report import at_most
from server import Server, start
from stats import ROUNDS_AT_ONCE, in_turn, median, milliseconds, ratios, say, spread
from yaml_project import Projects

COUNT = 20
REST = "over REST"
WIDTHS = {f"`xargs -P {width} docker compose up -d`": width for width in (1, 4, COUNT)}


def rounds():
    """What each side took, round by round."""
    times = {side: [] for side in (REST, *WIDTHS)}
    with Server() as server, Projects() as projects:
        cuids = [server.create() for _ in range(COUNT)]
        for cuid in cuids:
            projects.beside(server.folder(cuid))
        projects.at_once(4, "create")
        for number in range(ROUNDS_AT_ONCE):
            for side in in_turn(list(times), number):
                names = cuids if side == REST else projects.names()
                took = milliseconds(
                    (lambda: server.side_by_side(COUNT, start, cuids))
                    if side == REST
                    else (lambda: projects.at_once(WIDTHS[side], "up", "-d"))
                )
                take_down(server, side, names)
                times[side].append(took)
            say(f"starts at once: round {number + 1} of {ROUNDS_AT_ONCE}")
    return times


def take_down(server, side, names):
    """The same way on every side, once it is seen that all of them run."""
    states = engine.states()
    if any(states.get(name) != "running" for name in names):
        raise SystemExit(f"bench: not all started {side}")
    engine.end(names)
    while server.count("running"):
        pass


def measure():
    times = rounds()
    best = min(WIDTHS, key=lambda side: median(times[side]))
    rows = [at_most(f"{COUNT} starts at once over REST, to the best of the shell's", 1, ratios(times[REST], times[best]), 2)]
    section = [f"## {COUNT} starts at once, in milliseconds", "", "| | until all run | REST to it |", "| --- | --- | --- |"]
    section += [f"| {side} | {spread(took, 0)} | {spread(ratios(times[REST], took), 2)} |" for side, took in times.items()]
    return rows, [
        *section, "",
        f"{ROUNDS_AT_ONCE} rounds, the sides in another order each time; the containers have been created before, and are",
        f"killed between. REST by {COUNT} threads of one client. The best of the shell's is the one with the lowest median.",
    ]
