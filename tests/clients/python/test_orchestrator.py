"""The guide's deploy loop through aiohttp: create, upload, start, listen on the WebSocket, stop, delete."""

import asyncio
import itertools
import json
import time
import unittest
import uuid

import aiohttp

from support import AUTHORIZATION, BASE_URL, BUSYBOX_IMAGE, LOOK, PATIENCE, PYTHON_IMAGE, socket_url, zipped

LINES = 5
PAUSE_S = 1

BOOT = f"""
import os, time
print("Hello from", os.environ["CONTAINER_UID"], "in", os.environ["APP_ENV"])
for number in range({LINES}):
    print("line", number + 1)
    time.sleep({PAUSE_S})
print("Done!")
"""


class Orchestrator(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        limit = aiohttp.ClientTimeout(total=PATIENCE)
        self.session = aiohttp.ClientSession(BASE_URL, headers=AUTHORIZATION, timeout=limit)
        self.addAsyncCleanup(self.session.close)

    async def request(self, method, path, expected, **options):
        """One request with the expected status; returns the answer's JSON."""
        async with self.session.request(method, path, **options) as response:
            self.assertEqual(response.status, expected, await response.text())
            return await response.json()

    async def create(self, **specification):
        container = await self.request("POST", "/containers", 201, json=specification)
        self.addAsyncCleanup(self.remove, container["cuid"])
        return container

    async def remove(self, cuid):
        async with self.session.delete(f"/containers/{cuid}?force=true") as response:
            self.assertIn(response.status, (200, 404), await response.text())

    async def ended(self, cuid):
        while (await self.request("GET", f"/containers/{cuid}/status", 200))["status"] != "exited":
            await asyncio.sleep(LOOK)

    async def listen(self, cuid, query=""):
        """All frames of a connection on which nothing is said, each with the time it came at, and the close code."""
        frames = []
        async with self.session.ws_connect(socket_url(cuid, query)) as socket:
            async for message in socket:
                self.assertEqual(message.type, aiohttp.WSMsgType.TEXT)
                frames.append((time.monotonic(), json.loads(message.data)))
            return frames, socket.close_code

    async def test_containers_that_are_created_at_once_are_each_their_own(self):
        tag = f"batch-{uuid.uuid4()}"
        asked = [{"image": BUSYBOX_IMAGE, "tags": [tag], "env": {"NUMBER": str(number)}} for number in range(4)]
        created = await asyncio.gather(*(self.create(**specification) for specification in asked))
        self.assertEqual(len({container["cuid"] for container in created}), len(asked))
        self.assertEqual([container["env"] for container in created], [specification["env"] for specification in asked])
        listed = await self.request("GET", "/containers", 200, params={"tag": tag})
        self.assertEqual({c["cuid"] for c in listed["containers"]}, {c["cuid"] for c in created})

    async def test_the_orchestrator_sees_each_line_once_in_order_as_it_is_printed(self):
        specification = {"env": {"APP_ENV": "production"}, "tags": ["automated"], "resources": {"cpus": 0.5, "memory": "1024m"}}
        cuid = (await self.create(image=PYTHON_IMAGE, **specification))["cuid"]
        zip_headers = {"Content-Type": "application/zip"}
        await self.request("POST", f"/containers/{cuid}/upload-zip", 200, data=zipped({"boot.py": BOOT}), headers=zip_headers)
        await self.request("POST", f"/containers/{cuid}/start", 200)

        frames, close_code = await asyncio.wait_for(self.listen(cuid), PATIENCE)

        output = "".join(frame["data"] for _, frame in frames if frame["type"] == "stdout")
        numbered = [f"line {number + 1}" for number in range(LINES)]
        self.assertEqual(output.splitlines(), [f"Hello from {cuid} in production", *numbered, "Done!"])
        self.assertEqual([frame for _, frame in frames if frame["type"] in ("stderr", "error")], [])
        self.assertEqual((frames[-1][1], close_code), ({"type": "exit", "code": 0}, 1000))
        self.assert_spread(frames)

        await self.request("POST", f"/containers/{cuid}/stop", 200)
        deleted = await self.request("DELETE", f"/containers/{cuid}", 200)
        self.assertEqual(deleted["status"], "deleted")
        await self.request("GET", f"/containers/{cuid}", 404)

    def assert_spread(self, frames):
        """The output came over the time that it was printed in, and not in one burst at the end."""
        times = [at for at, frame in frames if frame["type"] == "stdout"]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        # Not every pause: the program may be some lines ahead of a connection that was slow to come.
        self.assertGreaterEqual(sum(gap > PAUSE_S / 2 for gap in gaps), 2, f"gaps between frames in seconds: {gaps}")

    async def test_a_listener_that_comes_after_the_end_is_given_the_output_from_its_start(self):
        cuid = (await self.create(image=BUSYBOX_IMAGE, command=["sh", "-c", "echo early; echo wrong >&2; exit 4"]))["cuid"]
        await self.request("POST", f"/containers/{cuid}/start", 200)
        await asyncio.wait_for(self.ended(cuid), PATIENCE)
        frames, _ = await asyncio.wait_for(self.listen(cuid, "?mode=attach"), PATIENCE)
        said = [(frame["type"], frame["data"]) for _, frame in frames if frame["type"] in ("stdout", "stderr")]
        self.assertEqual(sorted(said), [("stderr", "wrong\n"), ("stdout", "early\n")])
        self.assertEqual(frames[-1][1], {"type": "exit", "code": 4})
