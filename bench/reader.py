"""One client that reads a container's status and the list in turn, every few milliseconds, until its input ends. A process of
its own, so that what else the measurement does costs its figures nothing."""

import http.client
import json
import subprocess
import sys
import threading
import time

from client import PATIENCE_S, Client

PAUSE_S = 0.003


class Reader:
    """Reads for the time of a `with`; then `times` are what each read took, in milliseconds."""

    def __init__(self, server, cuid):
        self.task = {"port": server.port, "headers": server.headers, "paths": [f"/containers/{cuid}/status", "/containers?limit=20"]}

    def __enter__(self):
        words = [sys.executable, __file__]
        self.process = subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.process.stdin.write(json.dumps(self.task) + "\n")
        self.process.stdin.flush()
        # It says so once it reads.
        self.process.stdout.readline()
        return self

    def __exit__(self, failed, *_):
        with self.process:
            if failed:
                self.process.kill()
                return
            said, _ = self.process.communicate(timeout=PATIENCE_S)
        if self.process.returncode:
            raise SystemExit("bench: the reader failed")
        self.times = json.loads(said)


def read(port, headers, paths):
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    client, times = Client(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S), headers), []
    print("reading", flush=True)
    while not over.is_set():
        path = paths[len(times) % len(paths)]
        began = time.perf_counter()
        status, _ = client.ask("GET", path)
        times.append((time.perf_counter() - began) * 1000)
        if status != 200:
            raise SystemExit(f"bench: GET {path}: {status}")
        time.sleep(PAUSE_S)
    print(json.dumps(times))


if __name__ == "__main__":
    read(**json.loads(sys.stdin.readline()))
