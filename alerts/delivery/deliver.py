"""`biotwin deliver`: one outbox for MQTT and one for each subscription, side by side in one process, and beside them
whoever calls people when nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from alerts.delivery.channel import Channel
from alerts.delivery.email.channel import EmailChannel
from alerts.delivery.escalator import Escalator
from alerts.delivery.fhir.channel import FhirChannel
from alerts.delivery.mllp.channel import MllpChannel
from alerts.delivery.mqtt.channel import MqttChannel
from alerts.delivery.notification import AnySubscription
from alerts.delivery.outbox import DRAIN_S, Outbox
from alerts.delivery.receipt_log import ReceiptLog
from alerts.delivery.receipts import AnswerState, Reference
from alerts.delivery.retry import Backoff
from alerts.delivery.webhook.channel import WebhookChannel
from contracts.configuration import (
    MQTT,
    Configuration,
    EmailSubscription,
    FhirSubscription,
    MqttSubscription,
    WebhookSubscription,
)
from contracts.metrics import ProcessMetrics

MQTT_SUBSCRIPTION = MqttSubscription(name=MQTT, expire_after_s=0.0)


class Deliverer:
    """Delivers alerts until `stop` is set; nothing is lost while Kafka or a receiver is away.

    `ward_of` gives a patient's ward, None where nobody knows it. It takes work (`on_ready`) while Kafka answers and
    has the topics, and the MQTT broker where MQTT is on; a subscription's receiver that is away makes no other wait.
    Raises `ValueError` where there is nothing to deliver to, and `OSError` whose `filename` names the setting for
    certificates that cannot be read.
    """

    def __init__(
        self,
        configuration: Configuration,
        metrics: ProcessMetrics,
        stop: asyncio.Event,
        *,
        ward_of: Callable[[str], str | None] = lambda _patient: None,
        on_ready: Callable[[bool], None] = lambda _ready: None,
    ) -> None:
        self._configuration = configuration
        self._metrics = metrics
        self._stop = stop
        self._ward_of = ward_of
        self._on_ready = on_ready
        self._receipts = ReceiptLog(configuration, self._on_receipts)
        self._receipts_up = False
        self._mqtt_up = not configuration.deliver.mqtt
        self._mqtt_away_since: float | None = time.time()
        mqtt: list[AnySubscription] = [MQTT_SUBSCRIPTION] if configuration.deliver.mqtt else []
        subscriptions = [*mqtt, *configuration.subscriptions]
        if not subscriptions:
            raise ValueError("nothing to deliver to: `deliver.mqtt` is false and there is no subscription")
        self._kafka_up = dict.fromkeys([subscription.name for subscription in subscriptions], False)
        self._escalator = Escalator(configuration, subscriptions, metrics, stop, ward_of=ward_of, failing=self._failing)
        self._outboxes = [self._outbox(subscription) for subscription in subscriptions]

    async def run(self) -> None:
        """Deliver until `stop` is set, then wait shortly for what is under way."""
        writing = asyncio.create_task(self._receipts.run())
        try:
            async with asyncio.TaskGroup() as group:
                for outbox in self._outboxes:
                    group.create_task(outbox.run())
                group.create_task(self._escalator.run())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._receipts.drained(), DRAIN_S)
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

    def _outbox(self, subscription: AnySubscription) -> Outbox:
        def on_answer(about: Reference, state: AnswerState, detail: str) -> None:
            outbox.answered(about, state, detail)

        def on_kafka(up: bool) -> None:
            self._kafka_up[subscription.name] = up
            self._metrics.gauge("biotwin_kafka_up").set(float(all(self._kafka_up.values())))
            self._judge_ready()

        outbox = Outbox(
            self._configuration,
            subscription,
            self._channel(subscription, on_answer),
            self._receipts,
            self._metrics,
            self._stop,
            ward_of=self._ward_of,
            on_kafka=on_kafka,
        )
        return outbox

    def _channel(
        self, subscription: AnySubscription, on_answer: Callable[[Reference, AnswerState, str], None]
    ) -> Channel:
        configuration = self._configuration
        if isinstance(subscription, MqttSubscription):
            backoff = Backoff(configuration.ingest.reconnect_min_s, configuration.ingest.reconnect_max_s)
            return MqttChannel(
                configuration.mqtt,
                configuration.site,
                backoff=backoff,
                on_connected=self._on_connected,
                on_answer=on_answer,
                on_presence=self._escalator.presence,
            )
        if isinstance(subscription, FhirSubscription):
            backoff = Backoff(configuration.ingest.reconnect_min_s, configuration.ingest.reconnect_max_s)
            return FhirChannel(subscription, configuration.site, Path(configuration.data) / "fhir", backoff)
        if isinstance(subscription, WebhookSubscription):
            return WebhookChannel(subscription, configuration.site)
        if isinstance(subscription, EmailSubscription):
            return EmailChannel(subscription, configuration.smtp, configuration.site)
        return MllpChannel(subscription, configuration.site, on_answer)

    def _on_connected(self, up: bool) -> None:
        self._metrics.gauge("biotwin_mqtt_connected").set(float(up))
        self._mqtt_up = up
        self._mqtt_away_since = None if up else time.time()
        self._judge_ready()

    def _failing(self) -> dict[str, float | None]:
        """Since when which subscription takes nothing; of those that took something, or refused it, alone."""
        known = {
            outbox.subscription.name: outbox.failing_since
            for outbox in self._outboxes
            if outbox.proved or outbox.failing_since is not None
        }
        return known | {MQTT: self._mqtt_away_since}

    def _on_receipts(self, up: bool) -> None:
        self._receipts_up = up
        self._judge_ready()

    def _judge_ready(self) -> None:
        self._on_ready(self._receipts_up and self._mqtt_up and all(self._kafka_up.values()))
