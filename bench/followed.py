"""A followed log of a container that prints fast, by berth and at the engine's own socket, in turn: what is lost, and how far behind its
last line is."""

import re
import time

import engine
from report import row
from server import SPEC, Server
from stats import ROUNDS_AT_ONCE, in_turn, median, say, spread

MB_PER_S, SECONDS, LINE = 50, 4, 1000
LINES = MB_PER_S * SECONDS * 1_000_000 // LINE
# How far the last line may be behind, in ms.
BEHIND = 1000
# A line of so many bytes each, at an even pace; the last one has the time of its printing, by the clock that we have, too.
PROGRAM = f"""
import sys, time
time.sleep(1)
out, began = sys.stdout.buffer, time.monotonic()
for number in range({LINES}):
    out.write(b"%09d " % number + b"x" * {LINE - 11} + b"\\n")
    if number % 100 == 99:
        out.flush()
        time.sleep(max(0, began + (number + 1) / {LINES} * {SECONDS} - time.monotonic()))
out.flush()
took = time.monotonic() - began
print(f"end {{time.time()}} {{took}}", flush=True)
time.sleep(1000)
"""
# The engine would rotate what nobody has read.
LOG = {"driver": "json-file", "options": {"max-size": "1g"}}
END = re.compile(rb"end ([0-9.]+) ([0-9.]+)")


def read(answer):
    """Reads to the last line: how many lines there were, how far the last one was behind in ms, how long printing took in s, and the
    share of the time that this client was busy."""
    count, tail, busy, began = 0, b"", time.process_time(), time.perf_counter()
    while bytes_read := answer.read1(1 << 20):
        count += bytes_read.count(b"\n")
        tail = (tail + bytes_read)[-4096:]
        if end := END.search(tail):
            behind = (time.time() - float(end[1])) * 1000
            return count - 1, behind, float(end[2]), (time.process_time() - busy) / (time.perf_counter() - began)
    raise SystemExit("bench: the log ended early")


def ours(server, cuid):
    with server.client() as client:
        return read(client.answer("GET", f"/containers/{cuid}/logs?follow=true&tail=all"))


def theirs(_, cuid):
    with engine.client() as client:
        return read(client.answer("GET", f"/containers/{cuid}/logs?follow=1&stdout=1&stderr=1&timestamps=1"))


def once(server, way):
    spec = SPEC | {"image": "berth-test/python", "command": ["python3", "-c", PROGRAM], "log": LOG}
    cuid = server.call("POST", "/containers", spec)["cuid"]
    server.call("POST", f"/containers/{cuid}/start")
    try:
        return way(server, cuid)
    finally:
        server.call("DELETE", f"/containers/{cuid}?force=true")


def measure():
    sides = {"berth": ours, "the engine's socket": theirs}
    figures = {name: [] for name in sides}
    with Server() as server:
        for number in range(max(2, ROUNDS_AT_ONCE)):
            for name in in_turn(list(sides), number):
                figures[name].append(once(server, sides[name]))
                lines, behind, took, busy = figures[name][-1]
                say(f"followed: {name}: {lines} of {LINES} lines, printed in {took:.2f} s, the last {behind:.0f} ms behind, client {busy:.0%}")
    section = [
        f"## A log of {MB_PER_S} MB/s", "",
        "| followed by | lines lost | the last line behind, ms | printed in, s | client busy |", "| --- | --- | --- | --- | --- |",
    ]
    for name, all_runs in figures.items():
        lost = sum(LINES - lines for lines, *_ in all_runs)
        behind, took, busy = ([run[at] for run in all_runs] for at in (1, 2, 3))
        section.append(f"| {name} | {lost} | {spread(behind, 0)} | {spread(took, 2)} | {median(busy):.0%} |")
    lost, behind = sum(LINES - lines for lines, *_ in figures["berth"]), [run[1] for run in figures["berth"]]
    what = f"a followed log of {MB_PER_S} MB/s: lines lost, and how far the last one is behind, ms"
    return [row(what, f"0, {BEHIND}", f"{lost}, {spread(behind, 0)}", lost == 0 and median(behind) <= BEHIND)], [
        *section, "",
        f"A container prints {LINES} lines of {LINE} bytes in {SECONDS} s; its log driver is `json-file`, which keeps all of it. The log is followed from before the first line, and",
        "the time is from the last line's printing to its arrival; the engine's own stream is read by the same code.",
    ]
