"""Makes a virtual environment and installs the project into it; does nothing when that is already so.

    python tools/venv.py .venv --extra dev              editable, for work on the project
    python tools/venv.py .venv-demo --copy -r FILE      as a user gets it, with what FILE lists beside it

Needs nothing but CPython 3.11 or newer. Where the interpreter was built without `ensurepip`, pip comes from the system's
own, or as root on Debian from its package.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input"]
QUIET = ["--quiet", "--progress-bar", "off"]
BASE = str(getattr(sys, "_base_executable", sys.executable))
"""The interpreter under the environment we may have been started from: that one may be the one to replace."""


class Failed(Exception):
    """A sentence for the person at the keyboard."""


def main() -> None:
    """Read the command line, and answer with a sentence where it cannot be done."""
    if sys.version_info < (3, 11):  # noqa: UP036 — whoever starts this may well have an older one
        sys.exit(f"Pillion needs Python 3.11 or newer; this is {sys.version.split()[0]}. Set PYTHON=…")
    parser = argparse.ArgumentParser(description="make a virtual environment with the project in it")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extra", default="", help="an extra of pyproject.toml")
    parser.add_argument("--copy", action="store_true", help="install a copy, not a link to the sources")
    parser.add_argument("-r", "--requirements", type=Path, help="more to install; ignored if absent")
    options = parser.parse_args()
    try:
        prepare(options)
    except (Failed, subprocess.CalledProcessError) as error:
        sys.exit(f"could not make {options.folder}: {error}")


def prepare(options: argparse.Namespace) -> None:
    """Bring the environment up to what was asked for."""
    python = interpreter(options.folder)
    more = options.requirements if options.requirements and options.requirements.exists() else None
    stamp, mark = options.folder / ".pillion", fingerprint(options, more)
    if works(python) and stamp.exists() and stamp.read_text() == mark:
        return
    if not works(python):
        print(f"creating {options.folder}", flush=True)
        create(options.folder)
    print(f"installing into {options.folder}", flush=True)
    target = str(PROJECT) + (f"[{options.extra}]" if options.extra else "")
    wanted = [target] if options.copy else ["--editable", target]
    run([str(python), *PIP, "install", *QUIET, *wanted, *(["-r", str(more)] if more else [])])
    stamp.write_text(mark)


def interpreter(folder: Path) -> Path:
    """Where a virtual environment keeps its Python."""
    return folder.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(python: Path) -> bool:
    """Whether the environment runs and has pip; a half-made or moved one does not."""
    if not python.exists():
        return False
    asked = subprocess.run([str(python), *PIP, "--version"], capture_output=True, stdin=subprocess.DEVNULL)
    return asked.returncode == 0


def fingerprint(options: argparse.Namespace, more: Path | None) -> str:
    """What the environment was made from: a change means installing again."""
    digest = hashlib.sha256(f"{sys.version} {options.extra} {options.copy} {PROJECT}".encode())
    files = [PROJECT / "pyproject.toml", *([more] if more else [])]
    if options.copy:
        files += sorted(path for path in (PROJECT / "src").rglob("*") if path.suffix in {".py", ".binpb"})
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def create(folder: Path) -> None:
    """Make the environment with pip in it, by whichever way this machine allows."""
    shutil.rmtree(folder, ignore_errors=True)
    if plain(folder):
        return
    if system_pip():
        run([BASE, "-m", "venv", "--clear", "--without-pip", str(folder)])
        run([BASE, *PIP, "--python", str(interpreter(folder)), "install", *QUIET, "pip"])
    elif os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"], quiet)
        if not plain(folder):
            raise Failed("this Python cannot make virtual environments, even with python3-venv installed")
    else:
        raise Failed("this Python lacks ensurepip and pip: install python3-venv (Debian) or set PYTHON=…")


def plain(folder: Path) -> bool:
    """Try the ordinary way."""
    asked = subprocess.run(
        [BASE, "-m", "venv", "--clear", str(folder)], capture_output=True, stdin=subprocess.DEVNULL
    )
    return asked.returncode == 0


def system_pip() -> bool:
    """Whether this interpreter has a pip new enough to install into another environment."""
    asked = [BASE, *PIP, "--python", BASE, "--version"]
    return subprocess.run(asked, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run one step; its failure is ours."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)


if __name__ == "__main__":
    main()
