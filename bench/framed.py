"""A session of berth's, in its two framings."""

import base64
import json

from programs import COLS, KEY, ROWS
from websocket import BINARY, CLOSE, ROOM, TEXT, WebSocket, masked

AROUND = '{"type":"stdout","data":"","encoding":"utf8"}'


class NotSpoken(Exception):
    """The server doesn't know the framing."""


class Json:
    name = "berth, JSON"
    protocol = None
    data = TEXT

    def __init__(self, server, cuid, argv=None, tty=True, room=ROOM, received=None, query=None):
        """`query` is in place of a new session's."""
        if query is None:
            query = (f"mode=shell&cols={COLS}&rows={ROWS}" if tty else "mode=exec") + (f"&shell={argv[0]}" if argv else "")
        self.ws, self.session = WebSocket(server.port, f"/ws/{cuid}?{query}", server.headers, self.protocol, room, received), None
        if self.ws.protocol != self.protocol:
            self.close()
            raise NotSpoken(self.name)
        self.key, self.sock = self.typed(KEY), self.ws.sock

    def typed(self, data):
        """The frame that types this."""
        return masked(TEXT, json.dumps({"type": "stdin", "data": data.decode()}).encode())

    def press(self):
        self.sock.sendall(self.key)
        opcode, _, _ = self.ws.frame()
        if opcode != self.data:
            raise SystemExit(f"bench: a frame of opcode {opcode} where an echo was due")

    def write(self, data):
        self.sock.sendall(self.typed(data))

    def some(self):
        """The output in the next frame that has any."""
        while True:
            opcode, begins, ends = self.ws.frame()
            if (some := self.output(opcode, bytes(self.ws.buffer[begins:ends]))) is not None:
                return some

    def output(self, opcode, payload):
        """What of a program's output is in a frame."""
        frame = json.loads(payload) if opcode == TEXT else {"type": f"of opcode {opcode}"}
        if frame["type"] in ("stdout", "stderr"):
            return base64.b64decode(frame["data"]) if frame["encoding"] == "base64" else frame["data"].encode()
        if frame["type"] != "ready":
            raise SystemExit(f"bench: a frame {frame} where output was due")
        self.session = frame["session"]
        return None

    def until(self, words):
        output = b""
        while words not in output:
            output += self.some()

    def drain(self, total):
        """Nothing is decoded: around the data of a frame is always as much, and each escaped character of a flood has one
        backslash. Were that not so, the count would not come out."""
        ws, around = self.ws, len(AROUND)
        while total > 0:
            opcode, length = ws.header()
            if opcode != TEXT:
                raise SystemExit(f"bench: a frame of opcode {opcode} where output was due")
            total += around
            while length:
                if ws.at == ws.end:
                    ws.more()
                some = min(ws.end - ws.at, length)
                total -= some - ws.buffer.count(b"\\", ws.at, ws.at + some)
                ws.at += some
                length -= some
        return total

    def end(self):
        """Waits for the end of the program, of which the server tells by closing."""
        while self.ws.frame()[0] != CLOSE:
            pass

    def close(self):
        self.ws.close()


class Binary(Json):
    """Eight bytes of offset, and then the output as it is."""

    name = "berth, binary"
    protocol = "berth.v1.binary"
    data = BINARY

    def typed(self, data):
        return masked(BINARY, data)

    def output(self, opcode, payload):
        return payload[8:] if opcode == BINARY else super().output(opcode, payload)

    def drain(self, total):
        ws = self.ws
        while total > 0:
            opcode, length = ws.header()
            if opcode != BINARY:
                raise SystemExit(f"bench: a frame of opcode {opcode} where output was due")
            total -= length - 8
            while (some := ws.end - ws.at) < length:
                length -= some
                ws.at = ws.end
                ws.more()
            ws.at += length
        return total
