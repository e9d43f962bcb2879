"""The project that berth generated for a container, under another name, for `docker compose` in a shell."""

import subprocess


class Project:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name

    def compose(self, *command):
        subprocess.run(["docker", "compose", *command], cwd=self.folder, check=True, capture_output=True, timeout=60)


def beside(parent, original):
    """A copy of the generated project in a folder of its own."""
    name = "bench-" + original.name
    folder = parent / name
    (folder / "app").mkdir(parents=True)
    text = (original / "compose.yaml").read_text().replace(original.name, name)
    (folder / "compose.yaml").write_text(text)
    return Project(folder, name)
