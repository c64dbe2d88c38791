"""Runs the console: the feed, the directory's watch and the web server, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.routing import BaseRoute

from alerts.console.access import Access
from alerts.console.accounts import Accounts
from alerts.console.application import History, create_console
from alerts.console.audit import AuditJournal
from alerts.console.directory import Directory
from alerts.console.event_stream import Source, Streams
from alerts.console.feed import Feed
from alerts.console.heartbeat import beat
from alerts.console.oidc import Oidc
from alerts.console.security import is_loopback
from alerts.console.ward import Ward
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics

DIRECTORY_INTERVAL_S = 1.0
CLOSE_TIMEOUT_S = 3
BACKLOG = 128

Routes = Callable[[Access, Ward, Source], Sequence[BaseRoute]]
"""routes(access, ward, source) makes routes beside the console's own; each brings its guard."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process decides when it stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_console(
    configuration: Configuration,
    metrics: ProcessMetrics,
    stop: asyncio.Event,
    *,
    routes: Routes = lambda _access, _ward, _source: (),
    history: History | None = None,
    listening: Callable[[str, Feed], None] = lambda _url, _feed: None,
) -> None:
    """Serves until `stop` is set, then ends open streams and returns within a few seconds.

    `routes` makes further routes behind their own guard. `listening` is called with the URL once the port is open.
    Raises `OSError` where the address cannot be had.
    """
    console = configuration.console
    access = access_of(configuration)
    ward = Ward()
    feed = Feed(ward, configuration.kafka.bootstrap)
    streams = Streams(ward, feed, metrics)
    feed.changed = streams.changed
    kafka_up = metrics.gauge("biotwin_kafka_up")
    kafka_up.set_function(lambda: float(feed.up))
    application = create_console(
        ward,
        feed,
        streams,
        access=access,
        oidc=Oidc(configuration.oidc, console.public_url) if configuration.oidc.issuer else None,
        check_host=is_loopback(console.host),
        public_url=console.public_url,
        routes=routes(access, ward, feed),
        history=history,
    )
    server = _Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
            timeout_keep_alive=30,
        )
    )
    with _listen(console.host, console.port) as listener:
        url = f"http://{_shown_host(console.host)}:{listener.getsockname()[1]}/"
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(feed.run())
            naming = tasks.create_task(_watch_directory(Directory(console.directory), ward, streams))
            beating = tasks.create_task(beat(configuration.kafka.bootstrap, streams.stations))
            serving = tasks.create_task(server.serve([listener]))
            log.info("console_listening", url=url)
            listening(url, feed)
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            streams.close()
            server.should_exit = True
            await serving
            reading.cancel()
            naming.cancel()
            beating.cancel()


def access_of(configuration: Configuration) -> Access:
    """Accounts, tokens and audit journal as the configuration names them."""
    console = configuration.console
    return Access(
        Accounts(console.accounts, idle_s=console.session_idle_s, longest_s=console.session_longest_s),
        AuditJournal(console.audit),
        tokens=configuration.tokens,
        public_url=console.public_url,
        clock=time.monotonic,
    )


async def _watch_directory(directory: Directory, ward: Ward, streams: Streams) -> None:
    """Follows names and beds; a directory that cannot be read is said once and leaves pseudonyms."""
    trouble = ""
    while True:
        try:
            entries = await asyncio.to_thread(directory.all)
        except (sqlite3.Error, OSError) as error:
            if not trouble:
                log.warning("directory_unreadable", path=str(directory.path), error=str(error))
            trouble = str(error)
        else:
            trouble = ""
            if ward.set_directory(entries):
                streams.changed()
        await asyncio.sleep(DIRECTORY_INTERVAL_S)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)  # from here on a browser that connects waits, and is not refused
    except OSError:
        listener.close()
        raise
    return listener


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
