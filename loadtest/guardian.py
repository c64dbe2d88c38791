"""Ends processes whose owner is gone: `python -m loadtest.guardian`, its standard input a pipe from the owner.

Each line names a process ("pid created", as psutil counts creation time). When the pipe closes, because the owner ended
in whatever way, all of them that still run are told to end, and killed when they do not.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

import psutil

GRACE_S = 10.0


def end_all(named: list[tuple[int, float]], grace_s: float = GRACE_S) -> None:
    """SIGTERM to each process that is still the one that was meant, its children with it; SIGKILL after `grace_s`."""
    processes: list[psutil.Process] = []
    for pid, created in named:
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.01:
                processes += [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            continue
    for process in processes:
        try:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(processes, grace_s)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


class Guardian:
    """The owner's side: a context manager. Leaving it, or dying, ends every process that was put under guard."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "loadtest.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def guard(self, pid: int) -> None:
        """Have this process ended when the owner is gone."""
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        if self._child.stdin is not None:
            self._child.stdin.write(f"{pid} {created!r}\n".encode())
            self._child.stdin.flush()

    def close(self) -> None:
        """End what still runs and wait until it has ended."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _main() -> None:
    named = []
    for line in sys.stdin:
        pid, created = line.split()
        named.append((int(pid), float(created)))
    end_all(named)


if __name__ == "__main__":
    _main()
