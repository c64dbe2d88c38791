"""What every long-running process of BioTwin shares: logging, the metrics endpoint, signals, the event loop.

A process does, in this order::

    configuration = load_configuration()
    configure_logging("ingest-0")

    async def main(stop: asyncio.Event) -> None:
        with serve_metrics(configuration, metrics, "ingest-0") as endpoint:
            ...
            endpoint.set_ready(True)
            await stop.wait()
            ...  # drain

    run(main)
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, MutableMapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import psutil
import structlog
import uvloop
from prometheus_client.exposition import choose_encoder

from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from deploy.configuration import load_configuration

T = TypeVar("T")

FORBIDDEN_KEYS = frozenset(
    {
        *("address", "bed", "birth_date", "birthdate", "date_of_birth", "display_name", "dob", "email", "family_name"),
        *("first_name", "full_name", "given_name", "last_name", "mrn", "patient_name", "phone", "record_number", "ssn"),
        *("authorization", "credentials", "password", "secret", "token", "tokens"),
        *("body", "payload", "raw", "v", "value", "values", "vitals"),
    }
)
"""Fields that never reach a log: what names a person, secrets, and measured values."""


def drop_forbidden_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: removes forbidden fields, at any depth of mappings, and names them under `dropped`."""
    dropped: set[str] = set()
    kept = _without_forbidden(event, dropped)
    if dropped:
        kept["dropped"] = sorted(dropped)
    return kept


def _without_forbidden(fields: MutableMapping[str, Any], dropped: set[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        if str(key).lower() in FORBIDDEN_KEYS:
            dropped.add(str(key))
        else:
            kept[key] = _without_forbidden(value, dropped) if isinstance(value, dict) else value
    return kept


def configure_logging(name: str, level: str | None = None) -> None:
    """Logs of structlog and of `logging` to stderr: JSON lines, or coloured text where stderr is a terminal.

    `level` is a name of `logging`; without it BIOTWIN_LOG_LEVEL, else INFO. Call once, first thing in a process.
    """
    level = (level or os.environ.get("BIOTWIN_LOG_LEVEL") or "INFO").upper()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        drop_forbidden_keys,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    final: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if sys.stderr.isatty():
        final.append(structlog.dev.ConsoleRenderer())
    else:
        final += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    structlog.contextvars.bind_contextvars(process=name)


class RunningProcess(msgspec.Struct, frozen=True):
    """A process of this installation and where its metrics are."""

    name: str
    pid: int
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class _TargetGroup(msgspec.Struct):
    """Prometheus' file_sd format; labels that begin with two underscores are dropped after discovery."""

    targets: list[str]
    labels: dict[str, str]


def run_folder(configuration: Configuration) -> Path:
    """Where each running process leaves a file that says where its metrics are; Prometheus reads it (file_sd)."""
    return Path(configuration.data) / "run"


def running_processes(configuration: Configuration) -> list[RunningProcess]:
    """The processes of this installation that are alive, by name."""
    found = (_read(path) for path in sorted(run_folder(configuration).glob("*.json")))
    return [process for process in found if process is not None and psutil.pid_exists(process.pid)]


def _read(path: Path) -> RunningProcess | None:
    try:
        (group,) = msgspec.json.decode(path.read_bytes(), type=list[_TargetGroup])
        host, _, port = group.targets[0].rpartition(":")
        return RunningProcess(group.labels["process"], int(group.labels["__pid"]), host, int(port))
    except (OSError, msgspec.DecodeError, ValueError, KeyError, IndexError):
        return None


class MetricsEndpoint:
    """`/metrics`, `/healthz` (200 while it makes progress) and `/readyz` (200 while it takes work), in a thread.

    `live` and `ready` are asked at each request, in that thread. A context manager; leaving it removes the run file.
    """

    def __init__(
        self,
        configuration: Configuration,
        metrics: ProcessMetrics,
        name: str,
        live: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        self.name = name
        self._ready = False
        self._ready_gauge = metrics.gauge("biotwin_ready")
        self._ready_gauge.set(0)
        this = psutil.Process()
        metrics.gauge("biotwin_resident_memory_bytes").set_function(lambda: float(this.memory_info().rss))
        address = (configuration.metrics.host, configuration.metrics.port)
        self._server = ThreadingHTTPServer(address, _handler(metrics, live, lambda: self._ready and ready()))
        self._server.daemon_threads = True
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        self.file = self._announce(run_folder(configuration))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        structlog.get_logger(__name__).info("serving_metrics", url=f"http://{self.host}:{self.port}/metrics")

    def _announce(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        other = _read(file)
        if other is not None and other.pid != os.getpid() and psutil.pid_exists(other.pid):
            file = folder / f"{self.name}-{os.getpid()}.json"
        group = _TargetGroup([f"{self.host}:{self.port}"], {"process": file.stem, "__pid": str(os.getpid())})
        temporary = file.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode([group]))
        temporary.replace(file)
        return file

    def set_ready(self, ready: bool) -> None:
        """Say whether this process takes work; starts as no."""
        self._ready = ready
        self._ready_gauge.set(1 if ready else 0)

    def close(self) -> None:
        """Stop serving and take the run file away."""
        self.set_ready(False)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve_metrics(
    configuration: Configuration,
    metrics: ProcessMetrics,
    name: str,
    *,
    live: Callable[[], bool] = lambda: True,
    ready: Callable[[], bool] = lambda: True,
) -> MetricsEndpoint:
    """Serve this process's metrics on the configured address (port 0: a free one) until the endpoint is closed.

    It is ready after `set_ready(True)` and while `ready()` holds. `name` is unique to a process: "ingest-0", "console".
    """
    return MetricsEndpoint(configuration, metrics, name, live, ready)


def _handler(
    metrics: ProcessMetrics, live: Callable[[], bool], ready: Callable[[], bool]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers one request."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encoder(metrics.registry))
            elif path == "/healthz":
                self._verdict(live())
            elif path == "/readyz":
                self._verdict(ready())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz, /readyz\n")

        def _verdict(self, good: bool) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "text/plain", b"yes\n" if good else b"no\n")

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Requests are not logged."""

    return Handler


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. Repeats change nothing: a drain that was begun is finished.

    Call inside the running loop, in the main thread.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run `main(stop)` on uvloop to its end; `stop` is set by SIGTERM or SIGINT."""

    async def with_stop() -> T:
        return await main(stop_on_signals())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(with_stop())


def run_process(
    name: str, main: Callable[[Configuration, ProcessMetrics, asyncio.Event], Coroutine[Any, Any, object]]
) -> int:
    """A whole process that needs no more than this: configuration, logs, metrics, `main` to its end; the exit code.

    It counts as ready while `main` runs. An `int` that `main` returns is the exit code, anything else is 0.
    """
    configuration = load_configuration()
    configure_logging(name)
    metrics = ProcessMetrics()

    async def with_endpoint(stop: asyncio.Event) -> object:
        with serve_metrics(configuration, metrics, name) as endpoint:
            endpoint.set_ready(True)
            return await main(configuration, metrics, stop)

    result = run(with_endpoint)
    return result if isinstance(result, int) else 0
