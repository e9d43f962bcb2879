"""The server's start, and what it holds in memory with nothing to do."""

from report import at_most
from server import Server
from stats import say

STARTS = 21


def measure():
    starts, memory = [], []
    for _ in range(STARTS):
        with Server() as server:
            starts.append(server.start_ms)
            memory.append(server.memory_mb()[0])
    say("start: done")
    return [
        at_most("from the fork to the first answer, ms", 100, starts),
        at_most("resident memory when idle, MB", 30, memory),
    ], []
