"""Fifty creates at once, over REST and by `docker compose create` in a shell; what reads take meanwhile; and whether
creations keep the order of their arrival."""

import json
import time

import engine
from reader import PAUSE_S, Reader
from report import at_most, row
from server import SPEC, Server, delete
from stats import ROUNDS_AT_ONCE, in_turn, milliseconds, percentile, ratios, say, spread
from yaml_project import Projects

COUNT = 50
WIDTH = 4
# Apart enough to arrive in the order in which they were sent, and all long before the first handful is done.
GAP_S = 0.003
# How far a create may be from its turn where all begin in the order of their arrival: see the section's text.
TURNS = 2 * WIDTH
REST, SHELL, IDLE = "over REST", f"`xargs -P {WIDTH} docker compose create`", "no creates"


def over_rest(server):
    """What all took, and the cuids of those that succeeded, in the order in which they were sent and in that of their answers."""
    began = time.perf_counter()

    def one(client, number):
        time.sleep(max(0, began + number * GAP_S - time.perf_counter()))
        sent = time.perf_counter()
        status, text = client.ask("POST", "/containers", SPEC)
        return sent, time.perf_counter(), status, text

    answers = server.side_by_side(COUNT, one, range(COUNT))
    took = (max(ended for _, ended, *_ in answers) - began) * 1000
    made = [(sent, ended, json.loads(text)["cuid"]) for sent, ended, status, text in answers if status == 201]
    return took, [cuid for *_, cuid in sorted(made)], [cuid for *_, cuid in sorted(made, key=lambda each: each[1])]


def as_begun(cuids):
    """The cuids in the order in which the engine made their containers."""
    with engine.client() as client:
        return sorted(cuids, key=lambda cuid: client.call("GET", f"/containers/{cuid}/json")["Created"].rstrip("Z"))


def displaced(sent, done):
    """By how many places one came before or after its turn at most."""
    return max((abs(sent.index(cuid) - place) for place, cuid in enumerate(done)), default=0)


def rounds():
    """What each side took, the reads beside it, and of each round over REST how many were made and their displacements."""
    times, reads, made = {REST: [], SHELL: []}, {REST: [], SHELL: [], IDLE: []}, []
    with Server() as server, Projects() as projects:
        cuid = server.create()
        for number in range(COUNT):
            projects.beside(server.folder(cuid), f"-{number}")
        for number in range(ROUNDS_AT_ONCE):
            for side in in_turn(list(reads), number):
                sent, answered = [], []
                with Reader(server, cuid) as reader:
                    if side == REST:
                        took, sent, answered = over_rest(server)
                        times[REST].append(took)
                    elif side == SHELL:
                        times[SHELL].append(milliseconds(lambda: projects.at_once(WIDTH, "create")))
                    else:
                        time.sleep(1)
                reads[side] += reader.times
                if side == REST:
                    made.append((len(sent), displaced(sent, as_begun(sent)), displaced(sent, answered)))
                server.side_by_side(WIDTH, delete, sent)
                engine.remove(projects.names())
            say(f"creates at once: round {number + 1} of {ROUNDS_AT_ONCE}")
    return times, reads, made


def measure():
    times, reads, made = rounds()
    made, begun, answered = zip(*made)
    p99 = percentile(reads[REST], 99)
    rows = [
        row(f"{COUNT} creates at once over REST: how many succeed, each time", COUNT, spread(made, 0), min(made) == COUNT),
        at_most(f"these {COUNT}, to {SHELL}", 1, ratios(times[REST], times[SHELL]), 2),
        at_most(f"places by which one of these {COUNT} was made before or after its turn, at most", TURNS, begun, 0, worst=True),
        row("a read meanwhile, 99th percentile, ms", 10, f"{p99:.1f}", p99 <= 10),
    ]
    section = [
        f"## {COUNT} creates at once, and reads meanwhile, in milliseconds", "",
        "| | until all are created | reads | p50 | p99 | longest |", "| --- | --- | --- | --- | --- | --- |",
    ]
    for side, took in reads.items():
        figures = " | ".join(f"{figure:.1f}" for figure in (percentile(took, 50), percentile(took, 99), max(took)))
        section.append(f"| {side} | {spread(times[side], 0) if side in times else ''} | {len(took)} | {figures} |")
    return rows, [
        *section, "",
        f"{ROUNDS_AT_ONCE} rounds, the sides in another order each time. REST by {COUNT} threads of one client,",
        f"which send {GAP_S * 1000:.0f} ms apart. One more client, a process of its own, reads a status and",
        f"`GET /containers?limit=20` in turn, {PAUSE_S * 1000:.0f} ms after the last answer. Reads while the shell creates, or",
        "nobody, show how much of that is the machine's.", "",
        f"The turn of a create is its place among all {COUNT} as they were sent. {WIDTH} are made at a time, so that a slow",
        "one may be passed by each of the others, and that twice. By the engine's own times of creation one was at most",
        f"{spread(begun, 0)} places off its turn, and its answer {spread(answered, 0)}.",
    ]
