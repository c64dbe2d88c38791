"""One worker process: the app, its clocks and watches, and a clean end.

`WorkerProcess.run` returns the exit status. 0: told to end, everything checkpointed and committed. EXIT_KAFKA: Kafka
refused or lost writes, or went away for too long; starting again reads on from the last checkpoint. EXIT_UNCLEAN: told
to end, but the end could not be finished, as when Kafka does not answer; the next worker reads on from the last
checkpoint. EXIT_FAILED: an error of ours; the log has the traceback. EXIT_FROZEN and EXIT_STUCK end the process from
within. The first failure decides: what else goes wrong because of it is in the log and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from alerts.rules import RuleSet
from contracts import topics
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from stream.agents import Agents, PartitionState, Stage
from stream.app import WorkerApp, create_app
from stream.checkpoint import ChangelogError
from stream.health import Health
from stream.ledger import DeliveryError, Source
from stream.liveness import FreezeGuard
from stream.observe import Observer
from stream.processor import PartitionProcessor, StateVersionError
from stream.recovery import recover_partition
from stream.releaser import Releaser
from stream.router import restore_router
from stream.ticks import TICK_EVERY_S, TickWatch, alert_record, tick_record, ticks_notice
from stream.watchdog import EXIT_STUCK, PartitionWatch, Standing, stuck

log = structlog.get_logger("stream.worker")

EXIT_FAILED = 70
EXIT_UNCLEAN = 74
EXIT_KAFKA = 75
EXIT_STATE = 78
STOP_TIMEOUT_S = 4.0
ABORT_TIMEOUT_S = 3.0
RETRY_MAX_S = 5.0
RESTART_AFTER_S = 1.0
UNREADY_AT_LEAST_S = 60.0
KAFKA_UP_S = 5.0
"""A worker that writes ticks and has read none for so long has lost Kafka."""

CreateProcessor = Callable[[int], PartitionProcessor]


def worker_stages(configuration: Configuration, twin: CreateProcessor, alerts: CreateProcessor) -> list[Stage]:
    """The three agents of a worker. `twin` and `alerts` make the processor of a partition."""
    bootstrap, telemetry = configuration.kafka.bootstrap, configuration.worker.telemetry_topic
    return [
        Stage(
            "twin",
            telemetry,
            topics.TWIN_CHANGELOG,
            lambda p, progress: recover_partition(bootstrap, topics.TWIN_CHANGELOG, p, twin, progress),
        ),
        Stage(
            "alerts",
            topics.CONDITIONS,
            topics.ALERT_CHANGELOG,
            lambda p, progress: recover_partition(bootstrap, topics.ALERT_CHANGELOG, p, alerts, progress),
        ),
        Stage("router", topics.COMMANDS, None, partial(restore_router, bootstrap, telemetry)),
    ]


class WorkerProcess:
    """Runs the stages until told to end or until something fails."""

    def __init__(
        self,
        configuration: Configuration,
        metrics: ProcessMetrics,
        stages: list[Stage],
        rules: RuleSet | None = None,
    ) -> None:
        self.configuration = configuration
        self._ticks_notice = ticks_notice(rules)
        self.stages = stages
        self.health = Health()
        self._observer = Observer(metrics)
        self._guard = FreezeGuard(configuration.kafka.session_timeout_s / 2.0)
        self._ended = asyncio.Event()
        self._told = False
        self._unready_since = time.monotonic()
        self._excused_until = 0.0
        self._failure: BaseException | None = None
        self.agents = Agents(stages, configuration.worker, self._observer, self._guard, self._fail)
        self._watches: dict[int, TickWatch] = {}
        self._partition_watches: dict[Source, PartitionWatch] = {}

    def _fail(self, error: BaseException) -> None:
        """End the worker because of `error`. The first one decides the exit status; what it brings about is logged."""
        if self._failure is None:
            self._failure = error
            self._ended.set()
        elif error is not self._failure:
            log.error("something else failed while the worker was ending", exc_info=error)

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set or something fails; returns the exit status."""
        stopping = asyncio.create_task(self._end_on(stop))
        try:
            return await self._run()
        finally:
            stopping.cancel()

    async def _end_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._told = True
        self._ended.set()

    async def _run(self) -> int:
        if not await self._kafka_answers():
            return 0
        self._guard.start()
        app = create_app(self.configuration, self.stages, self.agents)
        tasks = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                ("app", app.start()),
                ("app-crashed", self._until_crashed(app)),
                ("checkpoints", self.agents.run_checkpoints()),
                ("standing", self._watch_standing()),
                ("ticks", self._tick()),
                ("releaser", self._release_readings()),
            )
        ]
        for task in tasks:
            task.add_done_callback(self._task_done)
        await self._ended.wait()
        self.health.ready = False
        self._observer.ready(False)
        clean = await self._stop(app, tasks)
        self._guard.stop()
        return self._status(clean)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _until_crashed(self, app: WorkerApp) -> None:
        """Faust crashes by setting a flag on itself and everything below it."""
        await app.wait_until_stopped()
        if app.crashed:
            # A cancellation that crashed the app would look as if this task had been told to end.
            if isinstance(app.crash_reason, Exception):
                raise app.crash_reason
            raise RuntimeError("the Faust app crashed") from app.crash_reason

    async def _stop(self, app: WorkerApp, tasks: list[asyncio.Task[None]]) -> bool:
        """Stop everything; whether that came to its end. Faust's own stop passes the last checkpoint, the commit and
        the leaving of the group.

        It is a task of its own: what it awaits of the consumer's thread is cancelled when a crash ends that thread, and
        that must not look as if this process had been cancelled.
        """
        for task in tasks[2:]:
            task.cancel()
        limit_s = STOP_TIMEOUT_S if self._failure is None else ABORT_TIMEOUT_S
        if self._failure is not None:
            self.agents.failed = True
        stopping = asyncio.create_task(app.stop(), name="app-stop")
        await asyncio.wait([stopping], timeout=limit_s)
        if not stopping.done():
            log.error("did not stop in time", seconds=limit_s)
            stopping.cancel()
            return False
        try:
            error = stopping.exception()
        except asyncio.CancelledError as cancelled:
            log.error("stopping was cancelled from within", exc_info=cancelled)
            return False
        if error is not None:
            self._fail(error)
        return error is None

    def _status(self, clean: bool) -> int:
        failure = self._failure
        if failure is None:
            return 0 if clean else EXIT_UNCLEAN
        if isinstance(failure, DeliveryError | KafkaError | OSError):
            log.error("Kafka refused or lost a write; going back to the last checkpoint", reason=str(failure))
            return EXIT_UNCLEAN if self._told else EXIT_KAFKA
        if isinstance(failure, StateVersionError | ChangelogError):
            log.error("the stored state cannot be read", reason=str(failure))
            return EXIT_STATE
        log.error("the worker failed", exc_info=failure)
        return EXIT_FAILED

    async def _kafka_answers(self) -> bool:
        """Wait until Kafka answers and has the topics; False if told to end while waiting."""
        wanted = {stage.source for stage in self.stages}
        wanted |= {stage.changelog for stage in self.stages if stage.changelog is not None} | {topics.JOURNAL}
        said = ""
        wait_s = 0.2
        while not self._ended.is_set():
            problem = await self._missing(wanted)
            self._observer.kafka_up(not problem)
            if not problem:
                if said:
                    log.info("Kafka answers", bootstrap=self.configuration.kafka.bootstrap)
                return True
            if problem != said:
                log.warning("waiting for Kafka", reason=problem)
                said = problem
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), wait_s)
            wait_s = min(wait_s * 1.6, RETRY_MAX_S)
        return False

    async def _missing(self, wanted: set[str]) -> str:
        bootstrap = self.configuration.kafka.bootstrap
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=5000)
        try:
            try:
                await consumer.start()
                missing = wanted - await consumer.topics()
            finally:
                await consumer.stop()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"no Kafka answers at {bootstrap} ({type(error).__name__}); start one with `biotwin kafka up`"
        if missing:
            return f"topics are missing: {', '.join(sorted(missing))}; create them with `biotwin kafka init`"
        return ""

    # Clocks and watches

    def _telemetry_partitions(self) -> list[int]:
        telemetry = self.configuration.worker.telemetry_topic
        return [source.partition for source in self.agents.states if source.topic == telemetry]

    async def _tick(self) -> None:
        if not self.configuration.worker.ticks:
            return
        telemetry = self.configuration.worker.telemetry_topic
        while True:
            await asyncio.sleep(TICK_EVERY_S - time.time() % TICK_EVERY_S)
            if not self.agents.accepting:
                continue
            for tick_partition in self._telemetry_partitions():
                await self.agents.write_aside(tick_record(telemetry, tick_partition, time.time()))

    async def _watch_standing(self) -> None:
        settings = self.configuration.worker
        while True:
            await asyncio.sleep(0.5)
            ready = self.agents.accepting
            states = list(self.agents.states.values()) if ready else []
            lags = [self.agents.lag(state) for state in states]
            clock = time.monotonic()
            standings = self._look(states, lags, clock)
            # For who looks from outside a record is done when what follows from it is delivered.
            undelivered = [self.agents.ledger.undelivered(state.source) for state in states]
            self._observer.standing(states, [lag + left for lag, left in zip(lags, undelivered, strict=True)])
            self._observer.ready(ready)
            self.health.update(ready, standings, settings.stuck_after_s)
            reason = stuck(standings, settings.stuck_after_s, settings.checkpoint_max_s) or self._unready(ready, clock)
            if reason is not None and clock > self._excused_until:
                await self._end_stuck(reason)
            if settings.ticks and ready:
                await self._judge_ticks(clock)
                heard = [state.tick_seen_at for state in states if state.source.topic == settings.telemetry_topic]
                if heard:
                    self._observer.kafka_up(clock - max(heard) < KAFKA_UP_S)

    def _look(self, states: list[PartitionState], lags: list[int], clock: float) -> list[Standing]:
        """How every partition stands; partitions that are new, or were away, are watched from now on."""
        owned = {state.source for state in states}
        self._partition_watches = {
            source: watch for source, watch in self._partition_watches.items() if source in owned
        }
        return [
            self._partition_watches.setdefault(state.source, PartitionWatch(clock)).look(
                f"{state.source.topic}/{state.source.partition}", state.position, state.durable, lag, clock
            )
            for state, lag in zip(states, lags, strict=True)
        ]

    def _unready(self, ready: bool, clock: float) -> str | None:
        """Why a worker that never gets ready counts as stuck: nothing assigned, and no recovery going on."""
        if ready:
            self._unready_since = clock
        since = max(self._unready_since, self.agents.recovering_at)
        if clock - since > max(3.0 * self.configuration.worker.stuck_after_s, UNREADY_AT_LEAST_S):
            return f"not ready for {clock - self._unready_since:.0f} s, and nothing is being recovered"
        return None

    async def _end_stuck(self, reason: str) -> None:
        """End the process, unless it is Kafka that stands still: then everything has as much time again once it is
        back."""
        problem = await self._missing(set())
        if problem:
            log.warning("waiting for Kafka", reason=problem)
            self._excused_until = time.monotonic() + self.configuration.worker.stuck_after_s
            return
        log.error("the worker is stuck; ending it", reason=reason)
        sys.stderr.flush()
        os._exit(EXIT_STUCK)

    async def _judge_ticks(self, clock: float) -> None:
        telemetry = self.configuration.worker.telemetry_topic
        own = [state for state in self.agents.states.values() if state.source.topic == telemetry]
        for gone in set(self._watches) - {state.source.partition for state in own}:
            del self._watches[gone]
        for state in own:
            number = state.source.partition
            watch = self._watches.setdefault(number, TickWatch(number, self._ticks_notice))
            watch.seen_at = max(watch.seen_at, state.tick_seen_at)
            alert = watch.judge(clock, time.time(), caught_up=self.agents.lag(state) == 0)
            self._observer.ticks_stopped(number, watch.opened is not None)
            if alert is not None:
                log.warning("arrival clock", partition=number, state=alert.state)
                await self.agents.write_aside(alert_record(alert, number))

    async def _release_readings(self) -> None:
        """Run the releaser while this worker owns the first partition of `commands`."""
        releaser = Releaser(self.configuration, self._observer)
        while True:
            await asyncio.sleep(0.2)
            if self.agents.owns(topics.COMMANDS, 0):
                await releaser.run(lambda: self.agents.owns(topics.COMMANDS, 0))


def start_again() -> NoReturn:
    """Replace this process by a new one of the same command, after a moment: nothing of the old one is left over."""
    time.sleep(RESTART_AFTER_S)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
