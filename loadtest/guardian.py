"""Ends processes whose owner is gone: `python -m loadtest.guardian`, its standard input a pipe from the owner.

Each line names a process ("end <pid> <created>", as psutil counts creation time) or a folder ("remove <path>"). When
the pipe closes, because the owner ended in whatever way, all processes that still run are told to end, and killed when
they do not; then the folders are removed.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
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
        self._say(f"end {pid} {created!r}")

    def remove_at_end(self, folder: Path) -> None:
        """Have this folder removed when the owner is gone."""
        self._say(f"remove {folder}")

    def _say(self, line: str) -> None:
        if self._child.stdin is not None:
            self._child.stdin.write(f"{line}\n".encode())
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
    named: list[tuple[int, float]] = []
    folders: list[str] = []
    for line in sys.stdin:
        what, _, rest = line.strip().partition(" ")
        if what == "end":
            pid, created = rest.split()
            named.append((int(pid), float(created)))
        else:
            folders.append(rest)
    end_all(named)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
