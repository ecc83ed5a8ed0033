"""Brings what the tests need beside Python, as far as this machine allows, and says what is still missing.

Commands come by the rows of `tests/needs`; the official JavaScript SDK into `tests/scenes/js`; the Python one as it was before
1.19 into an environment of its own in `tests/scenes/sdk118`; h2spec, built from its public Go module, into `tests/h2spec/bin`.
Nothing here fails the run: a test whose tool is missing is skipped visibly, or fails by itself in CI (`tests/support/needs.py`).
No server is left running: tests start their own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[1]
TESTS = PROJECT / "tests"
BIN = Path(sys.executable).parent
OLDEST_GO = (1, 21)  # from here on it fetches the version that a go.mod asks for
DEADLINE = 600.0

Row = tuple[str, str, str]


def main() -> None:
    """Bring what is missing, then say what still is."""
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    rows = table()
    bring_packages(package for command, package, _ in rows if package != "-" and not here(command))
    bring_wheels(wheel for command, _, wheel in rows if wheel != "-" and not here(command))
    bring_javascript(TESTS / "scenes" / "js")
    bring_old_sdk(TESTS / "scenes" / "sdk118")
    build_h2spec(TESTS / "h2spec")
    for command, package, _ in rows:
        if not here(command):
            print(f"not here: {command}" + (f" (Debian package {package})" if package != "-" else ""))


def table() -> list[Row]:
    """The rows of `tests/needs`."""
    lines = (TESTS / "needs").read_text().splitlines()
    split = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return [(command, package, wheel) for command, package, wheel in split]


def here(command: str) -> bool:
    """Whether a command can be used; an old Go cannot."""
    path = shutil.which(command)
    if path is None or command != "go":
        return path is not None
    told = subprocess.run([path, "version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    found = re.search(r"go(\d+)\.(\d+)", told)
    return bool(found) and (int(found[1]), int(found[2])) >= OLDEST_GO


def bring_packages(packages: Iterable[str]) -> None:
    """Install Debian packages as root; their services are not started."""
    names = sorted(packages)
    if not names or os.name != "posix" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print("installing", *names, flush=True)
    # With RUNLEVEL=1 the packages' own scripts start no service.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    run(["apt-get", "update", "-qq"], quiet)
    if not run([*install, *names], quiet):
        for name in names:  # one that cannot be had must not keep the others away
            run([*install, name], quiet)


def bring_wheels(wheels: Iterable[str]) -> None:
    """Install tools that come as wheels into the environment this runs in."""
    names = sorted(wheels)
    if names:
        print("installing", *names, flush=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        run([*pip, "--progress-bar", "off", *names])


def bring_javascript(folder: Path) -> None:
    """Install what the lock file pins, once per lock file."""
    lock = folder / "package-lock.json"
    npm = shutil.which("npm")
    if npm is None or not lock.exists():
        return
    stamp = folder / "node_modules" / ".pillion"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    print("installing the JavaScript SDK", flush=True)
    if run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--no-progress"], cwd=folder):
        stamp.write_bytes(lock.read_bytes())


def bring_old_sdk(folder: Path) -> None:
    """Install what the requirements pin into a virtual environment, once per file and Python."""
    wanted, place = folder / "requirements.txt", folder / ".venv"
    stamp, mark = place / ".pillion", f"{sys.version}\n{wanted.read_text()}"
    if stamp.exists() and stamp.read_text() == mark:
        return
    print("installing the Python SDK of before 1.19", flush=True)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--python", str(python)]
    if run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)]) and run(
        [*pip, "install", "--quiet", "--progress-bar", "off", "-r", str(wanted)]
    ):
        stamp.write_text(mark)


def build_h2spec(folder: Path) -> None:
    """Build the HTTP/2 conformance tool at the version that go.mod pins."""
    built, pin = folder / "bin" / "h2spec", folder / "go.mod"
    go = shutil.which("go")
    if go is None or not here("go") or not pin.exists():
        return
    if built.exists() and built.stat().st_mtime >= pin.stat().st_mtime:
        return
    print("building h2spec", flush=True)
    made = "github.com/summerwind/h2spec/cmd/h2spec"
    run([go, "build", "-buildvcs=false", "-mod=mod", "-o", str(built), made], cwd=folder)


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> bool:
    """Run one step with its voice kept for failures; whether it went well."""
    try:
        done = subprocess.run(
            command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=DEADLINE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{Path(command[0]).name} failed: {error}", flush=True)
        return False
    if done.returncode:
        print(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
