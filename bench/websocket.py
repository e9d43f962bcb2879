"""The client's half of a WebSocket, on a blocking socket: frames are made beforehand, and a header is read without looking at
what it is in front of. Knows nothing of terminals."""

import base64
import os
import socket
import struct

from client import PATIENCE_S

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
# How many bytes are received at a time at most; also the largest frame that `frame` can give.
ROOM = 1 << 20


def masked(opcode, payload):
    """A client's frame."""
    mask, count = os.urandom(4), len(payload)
    repeated = (mask * (count // 4 + 1))[:count]
    data = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(count, "big")
    return header(opcode, count, 0x80) + mask + data


def header(opcode, count, mask=0):
    """What a frame of so many bytes begins with."""
    if count < 126:
        return bytes([0x80 | opcode, mask | count])
    if count < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, mask | 126, count)
    return struct.pack(">BBQ", 0x80 | opcode, mask | 127, count)


class Refused(Exception):
    """The upgrade was answered with something else; what, is its text."""


class WebSocket:
    """One connection; `protocol` is what the server chose of what it was offered, if anything. What came and was not looked at
    yet is in `buffer` between `at` and `end`."""

    def __init__(self, port, path, headers, protocol=None, room=ROOM, received=None):
        """`received` is how much the kernel may receive ahead of us."""
        self.buffer, self.at, self.end = bytearray(room), 0, 0
        self.view = memoryview(self.buffer)
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if received:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
        try:
            self.sock.connect(("127.0.0.1", port))
            self.protocol = self.upgrade(path, headers | ({"Sec-WebSocket-Protocol": protocol} if protocol else {}))
        except BaseException:
            self.sock.close()
            raise

    def upgrade(self, path, headers):
        own = {
            "Host": "127.0.0.1", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (own | headers).items()), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        while (ends := self.buffer.find(b"\r\n\r\n", 0, self.end)) < 0:
            self.more()
        status, *lines = self.buffer[:ends].decode().split("\r\n")
        self.at = ends + 4
        if " 101 " not in status:
            raise Refused(f"{path}: {status} {self.buffer[self.at : self.end].decode(errors='replace')}")
        answered = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        return answered.get("sec-websocket-protocol")

    def more(self):
        """Waits for more bytes."""
        if self.at == self.end:
            self.at = self.end = 0
        elif self.end == len(self.buffer):
            left = self.end - self.at
            self.buffer[:left] = self.buffer[self.at : self.end]
            self.at, self.end = 0, left
        if self.end == len(self.buffer):
            raise SystemExit(f"bench: a frame is larger than {self.end} bytes")
        count = self.sock.recv_into(self.view[self.end :])
        if not count:
            raise EOFError("the server closed the connection")
        self.end += count

    def header(self):
        """The next frame's opcode and length. What it carries begins at `at`, as far as it has come."""
        while True:
            buffer, at, have = self.buffer, self.at, self.end - self.at
            if have >= 2:
                length, size = buffer[at + 1], 2
                if length == 126 and have >= 4:
                    length, size = buffer[at + 2] << 8 | buffer[at + 3], 4
                elif length == 127 and have >= 10:
                    length, size = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
                if length < 126 or size > 2:
                    self.at = at + size
                    return buffer[at] & 0x0F, length
            self.more()

    def frame(self):
        """The next frame that is no ping: its opcode, and between where in the buffer it is until the next call."""
        while True:
            opcode, length = self.header()
            while self.end - self.at < length:
                self.more()
            begins = self.at
            self.at += length
            if opcode != PING:
                return opcode, begins, self.at
            self.sock.sendall(masked(PONG, self.buffer[begins : self.at]))

    def answer_pings(self):
        """Answers what has come, of which nothing is to be anything else than a ping."""
        self.sock.settimeout(0)
        try:
            while True:
                self.frame()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(PATIENCE_S)

    def close(self):
        self.sock.close()
