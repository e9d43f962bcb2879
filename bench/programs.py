"""What runs in the measured terminals: the same scripts in a container's mount for every way to it."""

import random
import string

from server import SPEC, start

COLS, ROWS, TERM = 80, 24, "TERM=xterm-256color"
KEY = b"x"
READY = b"ready"
MIB = 1 << 20

SCRIPTS = {
    # Every byte that is typed comes back once, as it is.
    "echo": "stty raw -echo; printf ready; exec cat",
    # One line sets it off.
    "flood": "stty -echo 2>/dev/null; printf ready; read go; exec cat {}",
    "forever": "printf ready; read go; exec yes 'a line of output like many another one, and it never ends'",
}


def argv(script):
    return [f"/app/{script}"]


def text():
    """A mebibyte of lines as programs write them; always the same. It has no backslash."""
    chance, lines, left = random.Random(1), [], MIB
    letters = string.ascii_letters + string.digits + " " * 12 + '.,:;-_/()="'
    while left:
        length = min(chance.randint(1, 100), left)
        lines.append("".join(chance.choices(letters, k=length - 1)) + "\n")
        left -= length
    return "".join(lines).encode()


def container(server, image=SPEC["image"], mebibytes=0):
    """A running container that has the scripts, and so much for its flood: its cuid."""
    cuid = server.call("POST", "/containers", SPEC | {"image": image})["cuid"]
    app = server.folder(cuid) / "app"
    (app / "text").write_bytes(text())
    for name, script in SCRIPTS.items():
        (app / name).write_text("#!/bin/sh\n" + script.format(" ".join(["/app/text"] * mebibytes)) + "\n")
        (app / name).chmod(0o755)
    start(server, cuid)
    return cuid


def flood_bytes(mebibytes, tty):
    """How long a flood is: a TTY puts a carriage return before each end of a line."""
    return mebibytes * (MIB + (text().count(b"\n") if tty else 0))
