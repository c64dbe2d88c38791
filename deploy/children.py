"""Small tools for the processes that BioTwin starts: ports, pid files, a clean end."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Different ports that were free a moment ago."""
    sockets = [socket.create_server((host, 0)) for _ in range(count)]
    try:
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def port_is_taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.05) -> bool:
    """Ask until the condition holds; False when time is up."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True


def running_process(pid_file: Path, mark: str) -> psutil.Process | None:
    """The process a pid file names, if it runs and its command line holds `mark` (a pid may have been reused)."""
    try:
        process = psutil.Process(int(pid_file.read_text(encoding="ascii")))
        if process.status() != psutil.STATUS_ZOMBIE and any(mark in word for word in process.cmdline()):
            return process
    except (OSError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return None


def end_process(process: psutil.Process, timeout_s: float) -> bool:
    """SIGTERM and wait; SIGKILL when time is up. True if it ended by itself."""
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(timeout_s)
        return False
    return True


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log file, for an error message."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ""
