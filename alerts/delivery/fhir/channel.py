"""POSTs alerts as FHIR R4 notifications: a handshake first, then each event, and a heartbeat while it is quiet."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import orjson
import structlog

from alerts.delivery.channel import Declined, Delivered, Outcome, Retry
from alerts.delivery.fhir.events import EventNumbers
from alerts.delivery.fhir.notifications import event, sign_of_life
from alerts.delivery.http_post import IN_FLIGHT, HttpPost
from alerts.delivery.notification import Notification
from alerts.delivery.retry import Backoff
from alerts.delivery.webhook.request import SIGNATURE, signature
from contracts.configuration import FhirSubscription

MEDIA_TYPE = "application/fhir+json"

log = structlog.get_logger(__name__)


class FhirChannel:
    """One receiver. `folder` holds the numbers of its events.

    Nothing is sent before the receiver has answered a handshake of this process. Raises `OSError` for certificates
    that cannot be read and for a folder that cannot be written.
    """

    in_flight = IN_FLIGHT
    ordered = True

    def __init__(self, subscription: FhirSubscription, site: str, folder: Path, backoff: Backoff) -> None:
        self._subscription = subscription
        self._site = site
        self._backoff = backoff
        self._http = HttpPost(subscription)
        self._file = folder / f"fhir-{subscription.name}.sqlite"
        try:
            self._events = EventNumbers(self._file)
        except sqlite3.Error as error:
            raise OSError(0, str(error), str(self._file)) from error
        self._greeted = asyncio.Event()
        self._greeting = asyncio.Lock()
        self._quiet_since = time.monotonic()

    async def run(self) -> None:
        """Greet the receiver, then give signs of life, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._http.run())
            group.create_task(self._live())

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """One event, under the number that it had before if it is a repeat."""
        greeted = await self._greet()
        if not isinstance(greeted, Delivered):
            # A receiver that refuses the handshake may be set right; only the notification's own time ends it.
            return Retry(f"handshake: {greeted.detail}", greeted.asked_s if isinstance(greeted, Retry) else None)
        try:
            number = await asyncio.to_thread(self._events.number, str(notification.key))
        except sqlite3.Error as error:
            return Retry(f"{self._file}: {error}")
        name, site = self._subscription.name, self._site
        try:
            # Some milliseconds of checking against the models: in a thread, so that no other subscription waits.
            bundle = await asyncio.to_thread(event, name, site, notification, number)
        except ValueError as error:
            return Declined(f"no FHIR R4: {error}")
        on_sending()
        outcome = await self._post(bundle, str(notification.key))
        if isinstance(outcome, Delivered):
            self._quiet_since = time.monotonic()
        return outcome

    async def _live(self) -> None:
        failures = 0
        while not isinstance(outcome := await self._greet(), Delivered):
            failures += 1
            delay_s = self._backoff.delay_s(failures, random.random())
            log.warning(
                "handshake_failed", subscription=self._subscription.name, reason=outcome.detail, retry_s=delay_s
            )
            await asyncio.sleep(delay_s)
        while True:
            wait_s = self._quiet_since + self._subscription.heartbeat_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            outcome = await self._sign_of_life("heartbeat")
            if not isinstance(outcome, Delivered):
                log.warning("heartbeat_failed", subscription=self._subscription.name, reason=outcome.detail)
            self._quiet_since = time.monotonic()

    async def _greet(self) -> Outcome:
        """The handshake, once: whoever comes while it is under way waits for it."""
        async with self._greeting:
            if self._greeted.is_set():
                return Delivered()
            outcome = await self._sign_of_life("handshake")
            if isinstance(outcome, Delivered):
                self._greeted.set()
                self._quiet_since = time.monotonic()
            return outcome

    async def _sign_of_life(self, kind: Literal["handshake", "heartbeat"]) -> Outcome:
        try:
            count = await asyncio.to_thread(self._events.count)
        except sqlite3.Error as error:
            return Retry(f"{self._file}: {error}")
        return await self._post(sign_of_life(self._subscription.name, kind, count, time.time()))

    async def _post(self, bundle: dict[str, Any], key: str = "") -> Outcome:
        body = orjson.dumps(bundle)
        headers = {
            "Content-Type": MEDIA_TYPE,
            "User-Agent": "BioTwin",
            SIGNATURE: signature(self._subscription.secret, int(time.time()), body),
        }
        return await self._http.post(body, headers | ({"Idempotency-Key": key} if key else {}))
