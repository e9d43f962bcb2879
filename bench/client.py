"""HTTP on a kept connection, to berth and to the engine alike: what is compared is asked by the same code."""

import http.client
import json
import socket
import time

# Longer than any answer may take, those included that wait behind forty-nine others.
PATIENCE_S = 120
# A connection that idled so long is made anew: the other end may be about to close it.
IDLE_S = 30


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """One connection, for one thread."""

    def __init__(self, connection, headers=None):
        self.connection, self.headers, self.used = connection, headers or {}, time.monotonic()
        connection.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def answer(self, method, path, body=None):
        """The answer when it begins."""
        if time.monotonic() - self.used > IDLE_S:
            self.connection.close()
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        self.used = time.monotonic()
        return answer

    def ask(self, method, path, body=None):
        """One request: its status and its bytes."""
        answer = self.answer(method, path, body)
        return answer.status, answer.read()

    def call(self, method, path, body=None):
        """One request that is to succeed: its JSON."""
        status, text = self.ask(method, path, body)
        if status >= 400:
            raise SystemExit(f"bench: {method} {path}: {status} {text.decode(errors='replace')}")
        return json.loads(text)

    def per_second(self, path, seconds):
        """How many times a second the same thing can be read, one after the other."""
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            status, _ = self.ask("GET", path)
            if status != 200:
                raise SystemExit(f"bench: GET {path}: {status}")
            count += 1
        return count / passed
