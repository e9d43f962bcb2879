"""Whether running containers on the shared networks, however many those are, reach each other, and the host."""

import contextlib
import json
import random
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import engine
from report import row
from stats import say

PAIRS = 5
PORT = 8099
PATIENCE_S = 10


class Hello(BaseHTTPRequestHandler):
    """Answers whoever asks."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


def fetches(cuid, address, port):
    """Whether a program in the container gets a page from there."""
    words = ["docker", "exec", cuid, "timeout", "4", "wget", "-q", "-O", "/dev/null", f"http://{address}:{port}/passwd"]
    return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0


def attached(cuids):
    """Each container's network, address there, and the host's address there."""
    found = {}
    for document in json.loads("\n".join(engine.docker("inspect", *cuids))):
        (name, network), = document["NetworkSettings"]["Networks"].items()
        found[document["Name"].lstrip("/")] = name, network["IPAddress"], network["Gateway"]
    return found


def pairs(places):
    """Random pairs; where there are several networks, every other one is across two of them."""
    cuids, networks = list(places), {name for name, *_ in places.values()}
    chosen = []
    for number in range(PAIRS):
        first = random.choice(cuids)
        across = len(networks) > 1 and number % 2 == 0
        others = [cuid for cuid in cuids if cuid != first and (places[cuid][0] != places[first][0]) == across]
        # A network of a single container has no pair of its own.
        chosen.append((first, random.choice(others or [cuid for cuid in cuids if cuid != first])))
    return chosen


def serve(cuid, address):
    """A web server in the container, which is seen to answer the host at the container's address."""
    engine.docker("exec", "--detach", cuid, "httpd", "-f", "-p", str(PORT), "-h", "/etc")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(f"http://{address}:{PORT}/passwd", timeout=4).read()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: the web server in a container does not answer: {error}") from None
            time.sleep(0.05)


@contextlib.contextmanager
def host_serves(gateways):
    """A web server on the host at each of its addresses on these networks: their ports."""
    servers = {gateway: ThreadingHTTPServer((gateway, 0), Hello) for gateway in gateways}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {gateway: server.server_address[1] for gateway, server in servers.items()}
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()


def check(server, cuids):
    """Rows, and how many shared networks there are."""
    places = attached(cuids)
    chosen, each = pairs(places), f"of {PAIRS} random pairs of running containers"
    for second in {second for _, second in chosen}:
        shown, (_, address, _) = server.call("GET", f"/containers/{second}/status")["ip_address"], places[second]
        if shown != address:
            raise SystemExit(f"bench: ip_address is {shown}, and the engine says {address}")
        serve(second, address)
    reached = sum(fetches(first, places[second][1], PORT) for first, second in chosen)
    with host_serves({places[first][2] for first, _ in chosen}) as ports:
        out = sum(fetches(first, places[first][2], ports[places[first][2]]) for first, _ in chosen)
    say(f"isolation: {reached} of {PAIRS} reached the other, {out} the host")
    return [
        row(f"{each}, those of which one reaches the other", 0, reached, reached == 0),
        row(f"{each}, those whose first reaches the host", PAIRS, out, out == PAIRS),
    ], len({name for name, *_ in places.values()})
