"""The deploy loop's steps over REST and by `docker compose` in a shell, in turn, on the same project."""

from report import at_most
from server import Server
from stats import ROUNDS, milliseconds, ratios, say, spread
from yaml_project import Projects

NAMES = ["create", "start", "pause", "unpause", "restart", "stop", "delete"]


def rounds():
    ours, theirs = ({name: [] for name in NAMES} for _ in range(2))
    with Server() as server, Projects() as projects:
        for number in range(ROUNDS):
            cuid = []
            ours["create"].append(milliseconds(lambda: cuid.append(server.create())))
            path = f"/containers/{cuid[0]}"
            project = projects.beside(server.folder(cuid[0]))
            theirs["create"].append(milliseconds(lambda: project.compose("create")))
            for name in NAMES[1:-1]:
                query = "?timeout=10" if name in ("stop", "restart") else ""
                ours[name].append(milliseconds(lambda: server.call("POST", f"{path}/{name}{query}")))
                theirs[name].append(milliseconds(lambda: project.compose(name)))
            ours["delete"].append(milliseconds(lambda: server.call("DELETE", path)))
            theirs["delete"].append(milliseconds(lambda: project.compose("down")))
            say(f"steps: round {number + 1} of {ROUNDS}")
    return ours, theirs


def measure():
    ours, theirs = rounds()
    rows = [at_most(f"{name} over REST, to `docker compose` in a shell", 1, ratios(ours[name], theirs[name]), 2) for name in NAMES]
    sums = [[sum(side[name][at] for name in NAMES) for at in range(ROUNDS)] for side in (ours, theirs)]
    rows.append(at_most("the sum of these", 1, ratios(*sums), 2))
    section = ["## The steps in milliseconds", "", "| step | over REST | `docker compose` |", "| --- | --- | --- |"]
    section += [f"| {name} | {spread(ours[name], 0)} | {spread(theirs[name], 0)} |" for name in NAMES]
    return rows, [
        *section, "",
        f"{ROUNDS} rounds, one client. The shell side runs the same project under another name, after each step of ours.",
        "Ours also syncs the container's files to the disk, and answers only when the engine shows the new state.",
    ]
