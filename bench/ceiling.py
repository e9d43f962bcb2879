"""What the client that measures terminals can take itself: the other end of its WebSocket in a process of its own, which answers a key
with a frame that is ready, and a line with a flood of them, and does nothing else."""

import json
import socket
import subprocess
import sys

from client import PATIENCE_S
from framed import AROUND, Binary, Json
from programs import MIB, READY, text
from websocket import BINARY, TEXT, header

# As large as the pieces in which a TTY's output comes.
PIECE = 4096


class Ceiling:
    """Stands in for a server where a terminal is opened, for the time of a `with`. A flood is of so many mebibytes."""

    def __init__(self, mebibytes=0):
        self.mebibytes, self.headers = mebibytes, {}

    def __enter__(self):
        words = [sys.executable, __file__, str(self.mebibytes)]
        self.process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, start_new_session=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        with self.process:
            self.process.kill()


def frame(way, offset, output):
    """A frame with output, as berth would send it."""
    if way is Binary:
        return header(BINARY, 8 + len(output)) + offset.to_bytes(8, "big") + output
    body = AROUND.replace('""', json.dumps(output.decode()), 1).encode()
    return header(TEXT, len(body)) + body


def serve(connection, mebibytes):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(MIB)
    way = Binary if Binary.protocol.encode() in request else Json
    chosen = f"Sec-WebSocket-Protocol: {way.protocol}\r\n" if way.protocol else ""
    connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{chosen}\r\n".encode() + frame(way, 0, READY))
    if not mebibytes:
        echo = frame(way, 0, b"x")
        while connection.recv(MIB):
            connection.sendall(echo)
        return
    output = text().replace(b"\n", b"\r\n")
    pieces = b"".join(frame(way, at, output[at : at + PIECE]) for at in range(0, len(output), PIECE))
    while connection.recv(MIB):
        for _ in range(mebibytes):
            connection.sendall(pieces)


def main(mebibytes):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S * 10)
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                serve(connection, mebibytes)


if __name__ == "__main__":
    main(int(sys.argv[1]))
