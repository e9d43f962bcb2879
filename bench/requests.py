"""How many requests are answered a second among a thousand containers, with the generator on the same processors, beside the engine's own
list; and how long 99 of 100 take at half of the goal's rate."""

import os

import engine
from load import load
from report import row
from server import SPEC, Server, delete
from stats import ROUNDS_AT_ONCE, in_turn, median, ratios, say, spread

MANY = int(os.environ.get("THOUSAND", "1000"))
CLIENTS = 4
SECONDS = 3
P99_MS = 5
TIMES = 20
STATUS, TWENTY, HUNDRED = "`GET /containers/{cuid}/status`", "`GET /containers?limit=20`", "`GET /containers?limit=100`"
GOALS = {STATUS: 20_000, TWENTY: 10_000, HUNDRED: 3_000}
LIMITS = {STATUS: 1, TWENTY: 20, HUNDRED: 100}


def paths(cuid):
    return {STATUS: f"/containers/{cuid}/status", TWENTY: "/containers?limit=20", HUNDRED: "/containers?limit=100"}


def theirs(limit):
    """What the engine does for a list of so many."""
    path = f"/containers/json?all=1&limit={limit}"
    if engine.HOST.startswith("unix://"):
        return load((f"unix:{engine.HOST.removeprefix('unix://')}", path), {}, SECONDS)
    return load(engine.HOST.replace("tcp://", "http://") + path, {}, SECONDS)


def measure():
    own, others = ({what: [] for what in GOALS} for _ in range(2))
    half = {what: [] for what in GOALS}
    with Server() as server:
        make = lambda client, _: client.call("POST", "/containers", SPEC)["cuid"]
        cuids = server.side_by_side(CLIENTS, make, range(MANY), "created")
        at = f"http://127.0.0.1:{server.port}"
        asked = {what: at + path for what, path in paths(cuids[MANY // 2]).items()}
        for number in range(ROUNDS_AT_ONCE):
            for what in GOALS:
                for side in in_turn([own, others], number):
                    one = load(asked[what], server.headers, SECONDS) if side is own else theirs(LIMITS[what])
                    side[what].append(one)
                half[what].append(load(asked[what], server.headers, SECONDS, GOALS[what] / 2))
            say(f"requests: round {number + 1} of {ROUNDS_AT_ONCE}")
        server.side_by_side(CLIENTS, delete, cuids, "deleted")
    rows, section = [], ["## Requests among a thousand containers", "", "| | a second | the generator's share of a processor | the engine's list, a second |"]
    section.append("| --- | --- | --- | --- |")
    for what, goal in GOALS.items():
        rates, engines = [one.per_second for one in own[what]], [one.per_second for one in others[what]]
        shares = [one.share for one in own[what]]
        rows.append(row(f"{what}, a second", f"at least {goal}", spread(rates, 0), median(rates) >= goal))
        slow = [one.p99_ms for one in half[what]]
        rows.append(row(f"{what} at {goal // 2} a second, p99 in ms", P99_MS, spread(slow), median(slow) <= P99_MS))
        times = ratios(rates, engines)
        about = f"{what} to the engine's `GET /containers/json?limit={LIMITS[what]}`"
        rows.append(row(about, f"at least {TIMES}", spread(times), median(times) >= TIMES))
        section.append(f"| {what} | {spread(rates, 0)} | {spread(shares, 2)} | {spread(engines, 0)} |")
    section += ["", "The generator (`h2load`, one thread, 16 connections) has a processor of its own only as far as the server leaves it one. It is not",
                "the limit where its share stays below 1."]
    return rows, section
