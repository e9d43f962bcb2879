"""From the wish for a shell until its first prompt is there, by every way, in turn."""

from framed import Json
from programs import container
from server import Server
from stats import ROUNDS, in_turn, milliseconds, ratios, say, spread
from ways import LIMIT, OURS, opened, spoken, to_the_limit

# berth looks for bash itself; the others are told what there is.
SHELLS = {"`sh` in busybox": ("berth-test/busybox", "sh"), "`bash` in Debian": ("berth-test/python", "bash")}
PROMPT = b"$ "


def first_prompt(way, server, cuid, shell):
    """Milliseconds. The shell is ended after that, so that the next one begins in the same container."""
    opening = []

    def until_prompt():
        opening.append(way(server, cuid, None if way in OURS else [shell]))
        opening[0].until(PROMPT)

    try:
        took = milliseconds(until_prompt)
        opening[0].write(b"exit\n")
        opening[0].end()
    finally:
        for one in opening:
            one.close()
    return took


def rounds(server, ways, image, shell):
    cuid, figures = container(server, image), {way.name: [] for way in ways}
    for way in ways:
        first_prompt(way, server, cuid, shell)
    for number in range(ROUNDS * 2):
        for way in in_turn(list(ways), number):
            figures[way.name].append(first_prompt(way, server, cuid, shell))
    return figures


def measure():
    rows, section = [], ["## The first prompt", "", "| shell | way | ms | to the limit |", "| --- | --- | --- | --- |"]
    with Server() as server:
        ways = spoken(server, container(server))
        for what, (image, shell) in SHELLS.items():
            figures = rounds(server, ways, image, shell)
            rows += to_the_limit(f"until the first prompt of {what}", (1.15, 1.15), figures)
            for name, took in figures.items():
                section.append(f"| {what} | {name} | {spread(took)} | {spread(ratios(took, figures[LIMIT]), 2)} |")
            say(f"prompt: {what}")
    return rows, [
        *section, "",
        f"{ROUNDS * 2} rounds, from before the connection is made. The limit asks the engine for the very shell, and berth finds it.",
    ]
