"""The projects that berth generated, under other names, for `docker compose` in a shell; taken away in the end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import engine
from bounds import uninterrupted


class Project:
    def __init__(self, folder):
        self.folder, self.name = folder, folder.name

    def compose(self, *command):
        subprocess.run(["docker", "compose", *command], cwd=self.folder, check=True, capture_output=True, timeout=60)


class Projects:
    """Folders of their own, for the time of a `with`."""

    def __enter__(self):
        self.parent, self.all = Path(tempfile.mkdtemp(prefix="berth-bench-shell-")), []
        return self

    def __exit__(self, *_):
        with uninterrupted():
            engine.remove(self.names())
            shutil.rmtree(self.parent)

    def names(self):
        """Of the projects, and so of their containers."""
        return [project.name for project in self.all]

    def beside(self, original, suffix=""):
        """A copy of a container's project."""
        project = Project(self.parent / f"bench-{original.name}{suffix}")
        (project.folder / "app").mkdir(parents=True)
        text = (original / "compose.yaml").read_text().replace(original.name, project.name)
        (project.folder / "compose.yaml").write_text(text)
        self.all.append(project)
        return project

    def at_once(self, width, *command):
        """One `docker compose` a project, `width` of them at a time."""
        files = "".join(f"{project.folder}/compose.yaml\n" for project in self.all)
        words = ["xargs", "-P", str(width), "-I", "FILE", "docker", "compose", "-f", "FILE", *command]
        with tempfile.TemporaryFile("w+") as said:
            # In a session of its own, so that what it started can be ended with it.
            ran = subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True)
            try:
                ran.communicate(files, timeout=120)
            except BaseException:
                end_group(ran)
                raise
            if ran.returncode:
                said.seek(0)
                raise SystemExit(f"bench: {' '.join(words)}: {said.read()[-2000:]}")


def end_group(leader):
    """Ends a process and what it started: politely at first, so that nothing is asked of the engine any more."""
    deadline = time.monotonic() + 10
    try:
        os.killpg(leader.pid, signal.SIGTERM)
        leader.wait()
        while time.monotonic() < deadline:
            os.killpg(leader.pid, 0)
            time.sleep(0.02)
        os.killpg(leader.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
