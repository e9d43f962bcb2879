"""A key typed until its echo is there, by every way to the same program, in turn."""

import contextlib
import time

from ceiling import Ceiling
from framed import Json
from programs import READY, argv, container
from server import Server
from stats import ROUNDS, in_turn, median, percentile, ratios, say, spread
from ways import LIMIT, opened, spoken, to_the_limit

# Keys a round: so many in a row by one way, then by the next, so often. The pause is before each key.
AT_ONCE = {"keys": 100, "times": 5, "pause": 0}
TYPED = {"keys": 50, "times": 2, "pause": 0.005}
CEILING = "this client alone"


def press(way, keys, pause):
    """What each key took, in microseconds."""
    took, press, clock = [], way.press, time.perf_counter
    for _ in range(keys):
        if pause:
            time.sleep(pause)
        began = clock()
        press()
        took.append((clock() - began) * 1e6)
    return took


def rounds(ways, keys, times, pause, number=ROUNDS):
    """By each way, the median and the 99th percentile of each round."""
    medians, worst = ({name: [] for name in ways} for _ in range(2))
    for at in range(number):
        took = {name: [] for name in ways}
        for turn in range(times):
            for name in in_turn(list(ways), at + turn):
                took[name] += press(ways[name], keys, pause)
        for name in ways:
            medians[name].append(median(took[name]))
            worst[name].append(percentile(took[name], 99))
    return medians, worst


def table(medians, worst):
    lines = ["| way | median, µs | to the limit | p99, µs | to the limit |", "| --- | --- | --- | --- | --- |"]
    for name in medians:
        cells = (f"{spread(figures[name], 0)} | {spread(ratios(figures[name], figures[LIMIT]), 2)}" for figures in (medians, worst))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def measure():
    with Server() as server, Ceiling() as ceiling, contextlib.ExitStack() as stack:
        cuid = container(server)
        ways = {way.name: stack.enter_context(opened(way, server, cuid, argv("echo"))) for way in spoken(server, cuid)}
        ways[CEILING] = stack.enter_context(opened(Json, ceiling, cuid, argv("echo")))
        for way in ways.values():
            way.until(READY)
        rounds(ways, 100, 1, 0, 1)
        medians, worst = rounds(ways, **AT_ONCE)
        say("keystrokes: at once")
        typed_medians, typed_worst = rounds(ways, **TYPED)
        say("keystrokes: typed")
    rows = [*to_the_limit("a keystroke's median", (1.5, 1.5), medians), *to_the_limit("its 99th percentile", (2, 2), worst)]
    return rows, [
        "## Keystrokes", "", *table(medians, worst), "",
        f"A byte to `cat` on a TTY that is raw, and back. {ROUNDS} rounds, in each {AT_ONCE['times']} times {AT_ONCE['keys']} keys by each way,",
        "the next as soon as the last one's echo is there. The limit is an exec attached at the engine's socket. \"This client alone\" is",
        f"the same code with a loopback server that does nothing but echo. With {TYPED['pause'] * 1000:.0f} ms before each key, in which all",
        "processors go to sleep:", "",
        *table(typed_medians, typed_worst),
    ]
