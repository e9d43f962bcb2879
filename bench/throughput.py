"""How long a lot of output takes, by every way to the same program, in turn."""

import time

from ceiling import Ceiling
from programs import READY, argv, container, flood_bytes
from server import Server
from stats import ROUNDS_AT_ONCE, in_turn, median, ratios, say, spread
from ways import LIMIT, OURS, opened, spoken, to_the_limit

MEBIBYTES = 256


def flood(way, server, cuid, tty):
    """Seconds, and the share of them that this client was busy."""
    with opened(way, server, cuid, argv("flood"), tty) as one:
        one.until(READY)
        busy, began = time.process_time(), time.perf_counter()
        one.write(b"\n")
        if missing := one.drain(flood_bytes(MEBIBYTES, tty)):
            raise SystemExit(f"bench: {one.name}: of the output {missing} bytes are missing")
        took = time.perf_counter() - began
        return took, (time.process_time() - busy) / took


def rounds(server, ways, cuid, tty):
    figures, busy = ({way.name: [] for way in ways} for _ in range(2))
    for number in range(ROUNDS_AT_ONCE):
        for way in in_turn(list(ways), number):
            took, share = flood(way, server, cuid, tty)
            figures[way.name].append(took)
            busy[way.name].append(share)
        say(f"throughput: round {number + 1} of {ROUNDS_AT_ONCE}")
    return figures, busy


def measure():
    rows, section = [], [
        f"## {MEBIBYTES} MiB of output", "",
        "| | way | s | to the limit | share of it in which the client was busy |", "| --- | --- | --- | --- | --- |",
    ]
    with Server() as server, Ceiling(MEBIBYTES) as ceiling:
        cuid = container(server, mebibytes=MEBIBYTES)
        ways = spoken(server, cuid)
        for tty in (True, False):
            on = "on a TTY" if tty else "without one"
            figures, busy = rounds(server, ways, cuid, tty)
            rows += to_the_limit(f"{MEBIBYTES} MiB of output {on}", (1.35, 1.15), figures)
            for name, took in figures.items():
                share = f"{median(busy[name]):.0%}"
                section.append(f"| {on} | {name} | {spread(took, 2)} | {spread(ratios(took, figures[LIMIT]), 2)} | {share} |")
        for way in OURS:
            took = [flood(way, ceiling, cuid, True)[0] for _ in range(ROUNDS_AT_ONCE)]
            section.append(f"| from loopback | this client alone, {way.name.split(', ')[1]} | {spread(took, 2)} | | |")
    return rows, [
        *section, "",
        f"{ROUNDS_AT_ONCE} rounds. Lines of up to 100 characters, by `cat`; the time is from the line that sets it off to the last byte, and",
        "every byte is counted. \"This client alone\" is the same code with a loopback server that sends ready frames of 4 KiB.",
    ]
