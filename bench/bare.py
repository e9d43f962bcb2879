"""The limit of every terminal: an exec attached at the engine's own socket, by hand. HTTP until the engine answers, and the program's
bytes from then on."""

import json
import socket

import engine
from client import PATIENCE_S
from programs import COLS, KEY, ROWS, TERM
from websocket import ROOM


class Bare:
    name = "a bare exec"

    def __init__(self, _, cuid, argv, tty=True):
        self.tty, self.buffer = tty, bytearray(ROOM)
        self.view = memoryview(self.buffer)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(engine.HOST.removeprefix("unix://"))
        size = {"ConsoleSize": [ROWS, COLS]} if tty else {}
        streams = dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), True)
        created, _ = self.post(f"/containers/{cuid}/exec", {"Cmd": argv, "Tty": tty, "Env": [TERM], **streams, **size})
        start = f"/exec/{json.loads(created)['Id']}/start"
        _, self.early = self.post(start, {"Detach": False, "Tty": tty, **size}, "Connection: Upgrade\r\nUpgrade: tcp\r\n")

    def post(self, path, body, headers=""):
        """The engine's answer, and what of the program's output came with it."""
        body = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.sock.sendall((head + body).encode())
        came = b""
        while b"\r\n\r\n" not in came:
            came += self.some()
        head, _, rest = came.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        if status.split()[1] not in ("101", "201"):
            raise SystemExit(f"bench: {path}: {status} {rest.decode(errors='replace')}")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")), 0)
        while len(rest) < length:
            rest += self.some()
        return rest[:length], rest[length:]

    def some(self):
        if not (some := self.sock.recv(ROOM)):
            raise EOFError("the engine closed the connection")
        return some

    def press(self):
        self.sock.sendall(KEY)
        self.sock.recv_into(self.view)

    def write(self, data):
        self.sock.sendall(data)

    def until(self, words):
        output = self.early
        while words not in output:
            output += self.some()

    def drain(self, total):
        """Takes so many bytes of output: how many are missing then."""
        if not self.tty:
            return self.drain_runs(total)
        receive, view = self.sock.recv_into, self.view
        while total > 0 and (count := receive(view)):
            total -= count
        return total

    def drain_runs(self, total):
        """Without a TTY there are eight bytes in front of each run of output, of which the last four are its length."""
        receive, buffer, view, at, end = self.sock.recv_into, self.buffer, self.view, 0, 0
        while total > 0:
            if end - at < 8:
                buffer[: end - at] = buffer[at:end]
                at, end = 0, end - at
                if not (count := receive(view[end:])):
                    break
                end += count
                continue
            length = int.from_bytes(buffer[at + 4 : at + 8], "big")
            total -= length
            at += 8 + length
            while at > end and (count := receive(view)):
                at, end = at - end, count
        return total

    def end(self):
        """Waits for the end of the program."""
        while self.sock.recv_into(self.view):
            pass

    def close(self):
        self.sock.close()
