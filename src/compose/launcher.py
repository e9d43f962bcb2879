# Becomes boot.py, once what requirements.txt names is installed in a volume: python3 -u -c THIS VOLUME BOOT
import sys

# The app's files are not to be taken for Python's own modules here.
sys.path = [place for place in sys.path if place]

import hashlib, importlib.util, os, platform, shutil, signal, subprocess, sysconfig, tempfile

VOLUME, BOOT = sys.argv[1:]
APP = os.path.dirname(BOOT)
REQUIREMENTS = os.path.join(APP, "requirements.txt")
ASIDE = "installing-"


def say(line):
    print("berth:", line, file=sys.stderr, flush=True)


def digest():
    """Of the file, and of the Python that packages are built for."""
    python = platform.python_implementation(), sys.version, sysconfig.get_platform(), sysconfig.get_config_var("SOABI")
    told = hashlib.sha256(repr(python).encode())
    with open(REQUIREMENTS, "rb") as file:
        for block in iter(lambda: file.read(1 << 16), b""):
            told.update(block)
    return told.hexdigest()


def install(pip, installed):
    """Into a folder aside, which gets its name once all is there."""
    for entry in os.scandir(VOLUME):
        # Of an install that was cut short.
        if entry.name.startswith(ASIDE):
            shutil.rmtree(entry.path, ignore_errors=True)
    aside = tempfile.mkdtemp(dir=VOLUME, prefix=ASIDE)
    packages = os.path.join(aside, "packages")
    # By pip's own file: with -m, the folder it is run in, which relative paths are relative to, would hide Python's modules.
    pip = os.path.join(pip.submodule_search_locations[0], "__main__.py")
    options = ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off", "--target", packages]
    command = [sys.executable, "-u", pip, "install", *options, "-r", REQUIREMENTS]
    code = subprocess.call(command, cwd=APP, env={**os.environ, "TMPDIR": aside})
    if code:
        code = code if code > 0 else 128 - code
        say(f"requirements.txt could not be installed, so boot.py is not run: pip ended with {code}")
        shutil.rmtree(aside, ignore_errors=True)
        sys.exit(code)
    os.makedirs(packages, exist_ok=True)
    os.sync()
    os.rename(packages, installed)


def packages():
    """The folder with what requirements.txt names; nothing where there is none, or no pip."""
    try:
        installed = os.path.join(VOLUME, digest())
    except FileNotFoundError:
        return None
    if not os.path.isdir(installed):
        pip = importlib.util.find_spec("pip")
        if pip is None:
            say("the image has no pip: requirements.txt is not installed")
            return None
        install(pip, installed)
    # What was installed before, or only in part.
    for entry in os.scandir(VOLUME):
        if entry.path != installed:
            shutil.rmtree(entry.path, ignore_errors=True)
    return installed


# A signal ends this at once, and with it the container and pip.
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    found = packages()
except OSError as error:
    say(f"requirements.txt could not be installed, so boot.py is not run: {error}")
    sys.exit(1)
environment = dict(os.environ)
if found:
    for name, first in ("PYTHONPATH", found), ("PATH", os.path.join(found, "bin")):
        environment[name] = os.pathsep.join(filter(None, [first, environment.get(name)]))
os.execve(sys.executable, [sys.executable, "-u", BOOT], environment)
