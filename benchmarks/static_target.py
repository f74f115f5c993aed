"""A fast static target, nginx with one worker, and how fast one client asks it: the same measurement for every client.

Requests are those that nginx counted in the middle of a client's run, CPU time is the client's own in the same seconds:
its start counts for nothing. Where there are two cores, nginx has one and the client the other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.servers import ROOT
from tidegate.platform.embedded.ports import free_port

PAGE_BYTES = 1_024
WARM_S, START_S = 1.0, 20.0
BUSY_PER_S = 50.0
"""A client that asks as often has started."""

DEBIAN = {"wrk": "wrk", "nginx": "nginx-light"}
LOCUST = "python3 -m venv /tmp/locust && /tmp/locust/bin/pip install locust"
LOCUST_FILE = """
from locust import FastHttpUser, task


class Looker(FastHttpUser):
    @task
    def look(self):
        self.client.get("/page.txt")
"""

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    open_file_cache max=10;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/pages;
        location = /counts {{ stub_status; }}
    }}
}}
"""


def missing(locust: str) -> dict[str, str]:
    """What is not there, and how it is had."""
    found = {name: f"apt-get install {package}" for name, package in DEBIAN.items() if not _program(name)}
    if shutil.which(locust) is None:
        found["locust"] = f"{LOCUST}    # then --locust /tmp/locust/bin/locust"
    return found


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")


def cores() -> tuple[set[int], set[int]]:
    """Those of the target and those of the client; the same ones where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[-1]}, {usable[0]}


@contextmanager
def static_target(folder: Path) -> Iterator[int]:
    """Nginx with one page, on a port of its own."""
    port = free_port()
    (folder / "pages").mkdir()
    (folder / "pages" / "page.txt").write_bytes(b"x" * PAGE_BYTES)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port))
    folder.chmod(0o755)
    command = [str(_program("nginx")), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with _on(cores()[0]):
        server = subprocess.Popen(command)
    try:
        _wait(lambda: _counted(port) > 0, "nginx did not start")
        yield port
    finally:
        _stop(server)


def clients(port: int, *, connections: int, locust: str, folder: Path) -> dict[str, Sequence[str]]:
    """Commands of the clients that are compared, by name; each asks until it is stopped."""
    ours = {
        kind: [sys.executable, "-m", "benchmarks.static_load", kind, str(port), str(connections)]
        for kind in ("crowd", "wire", "aiohttp", "httpx")
    }
    file = folder / "locustfile.py"
    file.write_text(LOCUST_FILE)
    url = f"http://127.0.0.1:{port}"
    users = ["-u", str(connections), "-r", str(connections)]
    return {
        "wrk": [str(_program("wrk")), "-t", "1", "-c", str(connections), "-d", "3600s", f"{url}/page.txt"],
        **ours,
        "locust": [locust, "-f", str(file), "--headless", "--only-summary", "-H", url, *users, "--stop-timeout", "1"],
    }


def measure(command: Sequence[str], *, port: int, seconds: float) -> Mapping[str, float]:
    """Rate of one client, and microseconds of its CPU for one request."""
    quiet = subprocess.DEVNULL
    with _on(cores()[1]):
        client = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        _wait(lambda: _rate(port) > BUSY_PER_S, f"{command[0]} asks for nothing")
        time.sleep(min(WARM_S, seconds))
        began_s, began, used_s = time.perf_counter(), _counted(port), _cpu_s(client.pid)
        time.sleep(seconds)
        count, cpu_s = _counted(port) - began, _cpu_s(client.pid) - used_s
        per_s = count / (time.perf_counter() - began_s)
    finally:
        _stop(client)
    cpu_us = cpu_s / max(count, 1) * 1e6
    return {"requests_per_s": round(per_s), "cpu_us": round(cpu_us, 2), "per_core_s": round(1e6 / max(cpu_us, 0.01))}


@contextmanager
def _on(usable: set[int]) -> Iterator[None]:
    """What is started in the block runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, usable)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _counted(port: int) -> int:
    """Requests that nginx has answered so far; 0 when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=5) as answer:
            numbers = re.findall(r"\d+", answer.read().decode())
    except OSError:
        return 0
    return int(numbers[3])


def _rate(port: int) -> float:
    before = _counted(port)
    time.sleep(0.1)
    return (_counted(port) - before) / 0.1


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
