"""All of BioTwin on one machine, in a folder of its own: brokers and processes as children that never outlive it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from types import TracebackType
from typing import Self

import msgspec

from contracts.configuration import Configuration, Oidc
from deploy.children import free_ports, port_is_taken, wait_until
from deploy.kafka.broker import Broker
from deploy.kafka.topics import create_topics
from deploy.mqtt.embedded import mqtt_broker
from deploy.mqtt.mosquitto import MosquittoBroker
from loadtest.guardian import Guardian
from loadtest.processes import Child, Usage, environment_of

START_TIMEOUT_S = 240.0
"""Long enough for the first start on a machine, which compiles the kernels."""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """SIGINT and SIGTERM wait outside, where signals can be handled at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _free_port(wanted: int) -> int:
    """The port wanted, or one that is free."""
    return wanted if wanted and not port_is_taken(wanted) else free_ports(1)[0]


MEASURING = "measuring"
"""Holder of the token with which a system's own figures are taken."""

KEEP_LOGS = "BIOTWIN_KEEP_LOGS"
"""Environment variable: a folder into which the processes' logs are copied before the system's folder goes."""


class System:
    """A context manager. Inside it the brokers run and the topics exist; `start` adds processes.

    `configuration` says where everything is. Brokers that the given configuration names (`foreign_kafka`,
    `foreign_mqtt`) are used instead of own ones. Leaving it ends every process and removes the folder.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        foreign_kafka: bool = False,
        foreign_mqtt: bool = False,
        console_port: int = 0,
    ) -> None:
        self.configuration = configuration
        self.kafka: Broker | None = None
        self.mqtt: MosquittoBroker | None = None
        self.children: dict[str, Child] = {}
        self.broker_usage: dict[str, Usage] = {}
        self._foreign_kafka = foreign_kafka
        self._foreign_mqtt = foreign_mqtt
        self._console_port = console_port
        self._number = 0

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="biotwin-"))
        self.guardian = Guardian()
        self.guardian.remove_at_end(self.folder)
        try:
            self._start_brokers()
            asyncio.run(create_topics(self.configuration.kafka.bootstrap, self.configuration))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_brokers(self) -> None:
        replace = msgspec.structs.replace
        configuration = self.configuration
        if not self._foreign_mqtt:
            self.mqtt = mqtt_broker(self.folder / "mqtt")
            self.mqtt.start()
            self.guard_brokers()
            configuration = replace(
                configuration, mqtt=replace(configuration.mqtt, host=self.mqtt.host, port=self.mqtt.port)
            )
        if not self._foreign_kafka:
            self.kafka = Broker(self.folder / "kafka")
            self.kafka.start()
            self.guard_brokers()
            configuration = replace(configuration, kafka=replace(configuration.kafka, bootstrap=self.kafka.bootstrap))
        console = replace(
            configuration.console,
            host="127.0.0.1",
            port=self._console_port or _free_port(configuration.console.port),
            public_url="",
            directory=str(self.folder / "directory.sqlite"),
            accounts=str(self.folder / "accounts.sqlite"),
            audit=str(self.folder / "audit.jsonl"),
        )
        history = replace(configuration.history, directory=str(self.folder / "history"))
        self.configuration = replace(
            configuration,
            console=console,
            oidc=Oidc(),
            tokens={token_urlsafe(32): MEASURING},
            history=history,
            data=str(self.folder),
        )

    @property
    def measuring_token(self) -> str:
        """The one token of the console's interface, with which its alerts are measured."""
        (token,) = self.configuration.tokens
        return token

    def guard_brokers(self) -> None:
        """Put the brokers' processes under guard; to be called again after one was started anew."""
        for broker in (self.kafka, self.mqtt):
            if broker is not None and broker.process is not None:
                self.guardian.guard(broker.process.pid)

    def start(self, name: str, *arguments: str, **settings: str) -> Child:
        """Start `biotwin <arguments>` under this system's configuration and the settings given (as in
        `worker__ticks="false"`). `name` tells it from the others here."""
        self._number += 1
        child = Child(
            name,
            list(arguments),
            self.configuration,
            environment_of(self.configuration, **settings),
            self.folder / "log" / f"{name}-{self._number}.log",
            self.guardian,
        )
        self.children[name] = child
        return child

    def wait_ready(self, *names: str) -> None:
        """Wait until these processes take work; raises `ChildError`."""
        for name in names:
            self.children[name].wait_ready(START_TIMEOUT_S)

    def look(self) -> None:
        """Take down what every process has used so far."""
        for child in self.children.values():
            child.look()
        for name, broker in (("kafka", self.kafka), ("mqtt", self.mqtt)):
            if broker is not None and broker.process is not None:
                self.broker_usage.setdefault(name, Usage()).look(broker.process.pid)

    def usage(self) -> dict[str, Usage]:
        """What each process has used, by name."""
        return {**self.broker_usage, **{name: child.usage for name, child in self.children.items()}}

    def close(self) -> None:
        """End the processes in an order in which each can drain, then the brokers; remove the folder.

        Further signals to end change nothing: what was begun is finished.
        """
        with _uninterrupted():
            self._close()

    def _close(self) -> None:
        for child in reversed(list(self.children.values())):
            if child.returncode is None:
                child.ask_to_end()
        wait_until(lambda: all(child.returncode is not None for child in self.children.values()), 15.0)
        for child in self.children.values():
            child.kill()
        for broker in (self.mqtt, self.kafka):
            if broker is not None:
                broker.stop()
        kept = os.environ.get(KEEP_LOGS)
        if kept:
            shutil.copytree(self.folder / "log", Path(kept) / self.folder.name, dirs_exist_ok=True)
        self.guardian.close()
