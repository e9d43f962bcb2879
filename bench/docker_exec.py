"""What a user has without berth: `docker exec -it` on a PTY, or `docker exec -i` on pipes."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

from bounds import uninterrupted
from client import PATIENCE_S
from programs import COLS, KEY, ROWS, TERM
from websocket import ROOM


class DockerExec:
    name = "`docker exec`"

    def __init__(self, _, cuid, argv, tty=True):
        self.buffer = [bytearray(ROOM)]
        words = ["docker", "exec", "--interactive", *(["--tty", "--env", TERM] if tty else []), cuid, *argv]
        if tty:
            self.reader, program = pty.openpty()
            fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))
            self.process = subprocess.Popen(words, stdin=program, stdout=program, stderr=program, start_new_session=True)
            os.close(program)
            self.writer = os.dup(self.reader)
        else:
            (program_in, self.writer), (self.reader, program_out) = os.pipe(), os.pipe()
            self.process = subprocess.Popen(words, stdin=program_in, stdout=program_out, start_new_session=True)
            os.close(program_in)
            os.close(program_out)

    def press(self):
        os.write(self.writer, KEY)
        os.readv(self.reader, self.buffer)

    def write(self, data):
        os.write(self.writer, data)

    def until(self, words):
        output = b""
        while words not in output:
            if not select.select([self.reader], [], [], PATIENCE_S)[0]:
                raise SystemExit(f"bench: {self.name} says nothing more after {output[-200:]}")
            output += os.read(self.reader, ROOM)

    def drain(self, total):
        read, reader, buffer = os.readv, self.reader, self.buffer
        while total > 0 and (count := read(reader, buffer)):
            total -= count
        return total

    def end(self):
        self.process.wait(PATIENCE_S)

    def close(self):
        with uninterrupted():
            self.process.kill()
            self.process.wait()
            os.close(self.reader)
            os.close(self.writer)
