"""A server that one command leaves running in the background and another finds again: by the pid file in its folder."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import psutil

from deploy.children import end_process, last_lines, running_process, wait_until

HOST = "127.0.0.1"


class BackgroundServer(ABC):
    """One server on loopback, in one folder that holds its configuration, data, logs and pid file.

    `port` 0 takes a free one, which a restart keeps. Data stay across restarts.
    """

    start_timeout_s: float
    stop_timeout_s: float

    def __init__(self, folder: Path | str, port: int, program: str) -> None:
        self.folder = Path(folder).absolute()
        self.port = port
        self.pid_file = self.folder / f"{program}.pid"
        self.log_file = self.folder / f"{program}.log"
        self.console_file = self.folder / "console.log"
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> str:
        """Start, wait until it serves, return its address. Does nothing if it runs already. Raises `UserError`."""

    @abstractmethod
    def _launch(self) -> None:
        """Choose the port, write the configuration, `_spawn`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves clients at `port`."""

    @abstractmethod
    def _port_on_file(self) -> int:
        """The port in the configuration that was written last."""

    @property
    def process(self) -> psutil.Process | None:
        """The running server of this folder, whoever started it."""
        if self._child is not None:
            # By its handle: right after the start, the command line of a child cannot be read yet.
            return psutil.Process(self._child.pid) if self._child.poll() is None else None
        return running_process(self.pid_file, str(self.folder))

    def _comes_up(self) -> bool:
        """Launch it unless it runs, and wait until it serves. Where it does not in time, it is killed."""
        if self.process is not None:
            self.port = self.port or self._port_on_file()
        else:
            self._launch()
        ready = wait_until(lambda: self._answers() or self.process is None, self.start_timeout_s)
        if ready and self.process is not None:
            return True
        self.kill()
        return False

    def _spawn(self, command: Sequence[str]) -> None:
        with self.console_file.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in a terminal must not end it before its clients
            )
        self.pid_file.write_text(str(self._child.pid), encoding="ascii")

    def _last_words(self) -> str:
        """The end of its log, or of what it printed before it had one."""
        return last_lines(self.log_file) or last_lines(self.console_file)

    def stop(self) -> bool:
        """Stop cleanly (SIGTERM: it saves what it holds) and wait. True if nothing had to be killed."""
        process = self.process
        clean = process is None or end_process(process, self.stop_timeout_s)
        self._forget()
        return clean

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        process = self.process
        if process is not None:
            process.kill()
            process.wait(self.stop_timeout_s)
        self._forget()

    def restart(self) -> str:
        """Stop cleanly, then start on the same port and data."""
        self.stop()
        return self.start()

    def reset(self) -> None:
        """Stop and remove the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self) -> None:
        if self._child is not None:
            self._child.wait(self.stop_timeout_s)
            self._child = None
        self.pid_file.unlink(missing_ok=True)

    def status(self) -> dict[str, int | str | None]:
        """Port, pid and bytes on disk; pid None where it does not run."""
        process = self.process
        if process is not None:
            self.port = self._port_on_file()
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {"folder": str(self.folder), "port": self.port, "pid": process.pid if process else None, "bytes": size}
