"""Two hundred sessions opened and dropped, over and over: what that leaves in the server and in the containers."""

import os

import engine
from report import at_most, row
from server import Server
from shells import SETTINGS, containers, gone, held, settled, shells
from stats import median, say

SESSIONS = int(os.environ.get("DROPPED", "200"))
TIMES = int(os.environ.get("TIMES", "20"))


def over_and_over(server, cuids):
    """What the server holds before the first time and after each one, for as long as all is gone in time; and how many
    processes are left in the end."""
    processes, after = engine.processes(cuids), [held(server)]
    for number in range(TIMES):
        with shells(server, cuids, SESSIONS):
            pass
        if gone(cuids, processes) is None:
            break
        after.append((settled(server), *held(server)[1:]))
        say(f"dropped: {number + 1} of {TIMES} times")
    return after, engine.processes(cuids) - processes


def measure():
    with Server(**SETTINGS) as server:
        after, left = over_and_over(server, containers(server, SESSIONS))
    memory, threads, descriptors = zip(*after)
    what, last, more = f"{SESSIONS} sessions opened and dropped {TIMES} times", len(after) - 1, descriptors[-1] - descriptors[1]
    kinds = (("resident memory, MB", memory, 1), ("threads", threads, 0), ("descriptors", descriptors, 0))
    return [
        row(f"{what}: how often nothing was left of them", TIMES, last, last == TIMES),
        row(f"{what}: processes left in the containers", 0, left, left == 0),
        row(f"{what}: descriptors, besides those after the first time", 0, more, more <= 0),
        at_most(f"{what}: memory, to that after the first time", 1.1, [memory[-1] / memory[1]], 2),
    ], [
        f"## {what}", "",
        "| | before | after the first time | median | in the end |", "| --- | --- | --- | --- | --- |",
        *(
            f"| {kind} | {' | '.join(f'{value:.{digits}f}' for value in (*values[:2], median(values[1:]), values[-1]))} |"
            for kind, values, digits in kinds
        ),
    ]
