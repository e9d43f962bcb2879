"""Terminals through websockets 13, with `extra_headers` as the guide has it: the interactive shell, and the log stream."""

import asyncio
import base64
import json

import websockets

from support import AUTHORIZATION, PATIENCE, PYTHON_IMAGE, Containers, call, eventually, programs, socket_url, upload

# Writes a line to a log file every now and then.
LOGGER = b"""
import itertools, os, time
os.makedirs("/app/logs", exist_ok=True)
with open("/app/logs/app.log", "w", buffering=1) as log:
    for number in itertools.count():
        print("entry", number, file=log)
        print("noise on the main process's own output")
        time.sleep(0.1)
"""


class Terminal:
    """One connection: what came over it so far, and what it may be told."""

    def __init__(self, socket):
        self.socket = socket
        self.output = ""
        self.exit_code = None
        self.session = None

    async def say(self, **frame):
        await self.socket.send(json.dumps(frame))

    async def type(self, text):
        await self.say(type="stdin", data=text, encoding="utf8")

    async def until(self, what, probe):
        """Takes frames until `probe` of the whole output is true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not probe(self.output):
                    await self.take()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; the output so far is {self.output!r}") from None

    async def end(self):
        """Takes all that comes, until the connection is closed."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    await self.take()
            except websockets.ConnectionClosed:
                pass

    async def take(self):
        frame = json.loads(await self.socket.recv())
        match frame["type"]:
            case "stdout" | "stderr":
                data = frame["data"]
                self.output += base64.b64decode(data).decode(errors="replace") if frame["encoding"] == "base64" else data
            case "ready":
                self.session = frame["session"]
            case "exit":
                self.exit_code = frame["code"]
            case "error":
                raise AssertionError(f"an error frame: {frame['error']}")


class Terminals(Containers):
    """Tests of one container, in which nothing but its own program is left running afterwards."""

    def setUp(self):
        cuid = self.create(image=PYTHON_IMAGE)["cuid"]
        self.assertEqual(upload(cuid, {"boot.py": LOGGER}).status_code, 200)
        self.act(cuid, "start")
        eventually("the log has an entry", lambda: self.text_of(cuid, "logs/app.log"))
        self.cuid, self.own = cuid, programs(cuid)

    def assert_nothing_is_left(self):
        eventually(f"only {self.own} is left in the container", lambda: programs(self.cuid) == self.own)

    async def connect(self, query=""):
        socket = await websockets.connect(socket_url(self.cuid, query), extra_headers=AUTHORIZATION, open_timeout=PATIENCE)
        return Terminal(socket)

    def in_terminal(self, scenario, query="?cols=80&rows=24"):
        """Runs a scenario with a terminal whose connection is closed afterwards."""

        async def run():
            terminal = await self.connect(query)
            try:
                await scenario(terminal)
            finally:
                await terminal.socket.close()

        asyncio.run(run())

    def test_a_shell_runs_what_is_typed_and_close_ends_all_that_it_started(self):
        async def scenario(terminal):
            await terminal.type("sleep 2000 & setsid sleep 3000 & echo in $PWD as $TERM: $((40 + 2))\n")
            await terminal.until("the answer", lambda output: "in /app as xterm-256color: 42" in output)
            await self.sees("sleep 3000")
            await terminal.say(type="close")
            await terminal.end()
            self.assertIsNotNone(terminal.exit_code)
            self.assertEqual(terminal.socket.close_code, 1000)

        self.in_terminal(scenario)
        self.assert_nothing_is_left()

    def test_the_size_follows_the_query_and_resize(self):
        async def scenario(terminal):
            await terminal.type("stty size\n")
            await terminal.until("the size that was asked for", lambda output: "24 80" in output)
            await terminal.say(type="resize", cols=132, rows=43)
            await terminal.type("stty size\n")
            await terminal.until("the new size", lambda output: "43 132" in output)

        self.in_terminal(scenario)
        self.assert_nothing_is_left()

    def test_an_interrupt_ends_the_program_in_the_foreground_and_leaves_the_shell(self):
        async def scenario(terminal):
            await terminal.type("sleep 1000\n")
            await self.sees("sleep 1000")
            await terminal.say(type="signal", name="INT")
            await self.sees_no_more("sleep 1000")
            await terminal.type("echo code-$?\n")
            await terminal.until("the interrupt's exit code", lambda output: "code-130" in output)
            await terminal.type("exit 7\n")
            await terminal.end()
            self.assertEqual(terminal.exit_code, 7)

        self.in_terminal(scenario)
        self.assert_nothing_is_left()

    def test_who_comes_back_gets_what_it_missed(self):
        async def scenario(terminal):
            await terminal.type("stty -echo; for n in 1 2 3 4 5 6 7 8 9; do echo number $n; sleep 0.1; done; exit 7\n")
            await terminal.until("a number", lambda output: "number 2" in output)
            await terminal.socket.close()
            again = await self.connect(f"?session={terminal.session}&offset={len(terminal.output.encode())}")
            await again.end()
            lines = (terminal.output + again.output).splitlines()
            self.assertEqual([line for line in lines if line.startswith("number")], [f"number {n}" for n in range(1, 10)])
            self.assertEqual(again.exit_code, 7)

        self.in_terminal(scenario)
        self.assert_nothing_is_left()

    def test_a_connection_that_closes_leaves_nothing_behind(self):
        async def scenario(terminal):
            await terminal.type("sleep 4000\n")
            await self.sees("sleep 4000")

        self.in_terminal(scenario)
        self.assert_nothing_is_left()

    def test_the_log_stream_gives_each_entry_once_and_in_order(self):
        async def scenario(terminal):
            await terminal.type("tail -f /app/logs/app.log\n")
            # More than the ten that tail begins with.
            await terminal.until("entries", lambda output: output.count("\n") >= 15)
            entries = terminal.output[: terminal.output.rindex("\n")].splitlines()
            first = int(entries[0].removeprefix("entry "))
            self.assertEqual(entries, [f"entry {first + index}" for index in range(len(entries))])

        self.in_terminal(scenario, query="")
        self.assert_nothing_is_left()

    def test_a_terminal_on_a_container_that_does_not_run_is_refused_before_the_upgrade(self):
        self.act(self.cuid, "stop")

        async def refused():
            with self.assertRaises(websockets.InvalidStatusCode) as refusal:
                await self.connect("?cols=80&rows=24")
            self.assertEqual(refusal.exception.status_code, 422)

        asyncio.run(refused())
        self.assertEqual(call("GET", f"/containers/{self.cuid}/status").json()["status"], "exited")

    async def sees(self, program):
        """Waits until the program runs in the container, without keeping the connection from its own work."""
        await asyncio.to_thread(eventually, f"{program} runs", lambda: program in programs(self.cuid))

    async def sees_no_more(self, program):
        await asyncio.to_thread(eventually, f"{program} has ended", lambda: program not in programs(self.cuid))
