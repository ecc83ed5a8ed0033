"""Sends one order through the three apps beside this file, shows its way, and leaves nothing behind.

    python examples/01-orders/demo.py

Needs Pillion and requirements.txt in the environment it is started from. Everything lies in a temporary folder.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 60.0
CHECKOUT = "http://127.0.0.1:17101/orders"
APP_PORTS = (17101, 17102, 17103)
PILLION = [sys.executable, "-m", "pillion.cli.main"]


class Failed(Exception):
    """The demo did not go as it should."""


def main() -> int:
    """Run the demo; its exit status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pillion-demo-") as folder:
        place = Path(folder, "orders")
        shutil.copytree(HERE, place, ignore=shutil.ignore_patterns("__pycache__", "logs", "receipts"))
        # The environment's own programs come first: the apps are started as python3.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environ = {**os.environ, "PATH": path, "PILLION_HOME": str(Path(folder, "home"))}
        try:
            ride(place, environ)
        except Failed as failure:
            print(f"\nThe demo failed: {failure}", flush=True)
            show_logs(place)
            return 1
    print(f"\nDone in {time.monotonic() - began:.1f} s. Nothing is left: no process, no port, no file.")
    return 0


def ride(place: Path, environ: Mapping[str, str]) -> None:
    """Start everything, send an order, follow it, stop everything."""
    say("pillion run -f dapr.yaml")
    run = subprocess.Popen([*PILLION, "run", "-f", str(place)], env=environ, start_new_session=True)
    try:
        wait(lambda: answers(17101) and ready(environ, place), "the three apps to be ready", run)
        apps = listed(environ, place)
        say("pillion list")
        subprocess.run([*PILLION, "list"], env=environ, check=True)
        order = {"id": "order-1", "item": "bell", "quantity": 3}
        say(f"POST {CHECKOUT}  {json.dumps(order)}")
        sent = time.time()
        answer = post(order)
        receipt = place / "shipping" / "receipts" / "order-1.json"
        wait(lambda: complete(receipt), f"the receipt {receipt.name}", run)
        show([answer, json.loads(receipt.read_text())], sent, receipt.stat().st_mtime)
    finally:
        stop(run)
    check_nothing_left(apps, run)


def ready(environ: Mapping[str, str], place: Path) -> bool:
    """Whether every sidecar says that it and its app are ready."""
    apps = listed(environ, place)
    return len(apps) == 3 and all(healthy(app["httpPort"]) for app in apps)


def listed(environ: Mapping[str, str], place: Path) -> list[dict]:
    """What `pillion list` shows of this run."""
    told = subprocess.run([*PILLION, "list", "-o", "json"], env=environ, capture_output=True, check=True)
    return [app for app in json.loads(told.stdout) if app["runTemplatePath"].startswith(str(place))]


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1.0/healthz", timeout=2) as answer:
            return answer.status == 204
    except (urllib.error.URLError, OSError):
        return False


def post(order: dict) -> dict:
    """What a shopper's browser would do; the order as it comes back."""
    body = json.dumps(order).encode()
    request = urllib.request.Request(CHECKOUT, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(f"{answer.status} {answer.reason}", flush=True)
            return json.load(answer)
    except (urllib.error.URLError, OSError) as error:
        raise Failed(f"the order was not taken: {error}") from error


def complete(receipt: Path) -> bool:
    try:
        json.loads(receipt.read_text())
    except (OSError, ValueError):
        return False
    return True


def show(seen: list[dict], sent: float, written: float) -> None:
    """The order's way, out of what came back and what reached the receipt, with the time each app saw."""
    say("the order's way, with the time each app saw")
    steps = {step["at"]: step for order in seen for step in order["trail"]}
    steps[written] = {"app": "(file)", "at": written, "saw": "the receipt written by the output binding"}
    for _, step in sorted(steps.items()):
        clock = time.strftime("%H:%M:%S", time.localtime(step["at"])) + f".{int(step['at'] % 1 * 1000):03d}"
        print(f"  {clock}  {(step['at'] - sent) * 1000:7.1f} ms  {step['app']:<9} {step['saw']}", flush=True)


def stop(run: "subprocess.Popen[bytes]") -> None:
    """What Ctrl-C does."""
    say("Ctrl-C")
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
    try:
        run.wait(30)
    except subprocess.TimeoutExpired:
        run.kill()
        raise Failed("pillion run did not end within 30 s") from None


def check_nothing_left(apps: list[dict], run: "subprocess.Popen[bytes]") -> None:
    """No process and no port of the run may be there any more."""
    if run.returncode != 0:
        raise Failed(f"pillion run ended with status {run.returncode}")
    pids = {app[key] for app in apps for key in ("appPid", "daprdPid", "cliPid")}
    if left := [pid for pid in pids if alive(pid)]:
        raise Failed(f"processes are left: {left}")
    ports = {*APP_PORTS, *(app[key] for app in apps for key in ("httpPort", "grpcPort"))}
    if left := [port for port in sorted(ports) if answers(port)]:
        raise Failed(f"ports are still listened on: {left}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(condition: Callable[[], object], what: str, run: "subprocess.Popen[bytes]") -> None:
    """Until it is so; not beyond our patience, and not beyond the end of the run."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if run.poll() is not None:
            raise Failed(f"pillion run ended with status {run.returncode} before {what}")
        if time.monotonic() > deadline:
            raise Failed(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.05)


def say(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def show_logs(place: Path) -> None:
    """The last lines of every log, since their folder goes away."""
    for log in sorted(place.glob("*/.dapr/logs/*.log")):
        print(f"\n--- the end of {log.name}")
        print("\n".join(log.read_text(errors="replace").splitlines()[-15:]))


if __name__ == "__main__":
    sys.exit(main())
