"""One MLLP connection: a message, its acknowledgement, the next. Status reports come back on it, or to a port here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from alerts.delivery.channel import Declined, Delivered, OnAnswer, Outcome, Retry, client_tls
from alerts.delivery.mllp.framing import MOST_BYTES, FramingError, frame, read_frame
from alerts.delivery.mllp.messages import Acknowledgement, Received, acknowledge, control_id, report_alert, understand
from alerts.delivery.notification import Notification
from alerts.delivery.receipts import Reference, reference_of
from contracts.configuration import MllpSubscription

REMEMBERED = 10_000
"""Sent messages whose status reports can still be told apart; older ones are answered and logged, no more."""

LISTEN_AGAIN_S = 10.0

log = structlog.get_logger(__name__)


class MllpChannel:
    """One receiver. AA and CA are deliveries; AE, AR, CE and CR are refusals.

    Raises `OSError` for certificates that cannot be read.
    """

    in_flight = 1
    ordered = True

    def __init__(self, subscription: MllpSubscription, site: str, on_answer: OnAnswer) -> None:
        self._subscription = subscription
        self._site = site
        self._on_answer = on_answer
        setting = f"subscriptions.{subscription.name}.ca_file"
        self._tls = client_tls(subscription.ca_file, setting) if subscription.tls else None
        self._sent: dict[str, Reference] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._expected: tuple[str, asyncio.Future[Acknowledgement]] | None = None

    async def run(self) -> None:
        """Listen for status reports, where a port is configured, and close the connection in the end."""
        try:
            while self._subscription.status_port:
                await self._listen_for_status()
                await asyncio.sleep(LISTEN_AGAIN_S)
            await asyncio.Event().wait()
        finally:
            self._close()

    async def _listen_for_status(self) -> None:
        """Until cancelled; a port that is taken must not keep alerts from leaving."""
        host, port = self._subscription.status_host, self._subscription.status_port
        try:
            async with await asyncio.start_server(self._serve_status, host, port, limit=MOST_BYTES) as server:
                await server.serve_forever()
        except OSError as error:
            log.error("status_port_not_open", subscription=self._subscription.name, port=port, reason=str(error))

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """Send one message and wait for its acknowledgement, on a new connection if need be."""
        number = control_id(notification.key)
        # hl7apy takes some 20 ms for a message, which the other subscriptions must not wait for.
        message = await asyncio.to_thread(report_alert, notification, self._site, time.time())
        expected: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._subscription.timeout_s):
                writer = await self._connection()
                self._expected = (number, expected)
                self._remember(number, reference_of(notification))
                on_sending()
                writer.write(frame(message))
                await writer.drain()
                said = await expected
        except TimeoutError:
            self._close()  # an acknowledgement that comes now would be taken for that of the next message
            return Retry("no acknowledgement in time")
        except (OSError, EOFError) as error:
            self._close()
            return Retry(f"{type(error).__name__} {error}")
        finally:
            self._expected = None
        return Delivered(said.code) if said.takes else Declined(said.code)

    async def _connection(self) -> asyncio.StreamWriter:
        if self._writer is not None:
            return self._writer
        subscription = self._subscription
        reader, writer = await asyncio.open_connection(
            subscription.host, subscription.port, ssl=self._tls, limit=MOST_BYTES
        )
        self._writer = writer
        self._listening = asyncio.create_task(self._listen(reader, writer))
        return writer

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what comes on the connection of the alerts, until it ends."""
        lost: Exception = EOFError()
        try:
            while True:
                received = understand(await read_frame(reader))
                if received is not None and self._expected is not None and not received.is_status:
                    number, expected = self._expected
                    if received.acknowledgement.control_id == number and not expected.done():
                        expected.set_result(received.acknowledgement)
                        continue
                await self._take_status(received, writer)
        except (OSError, EOFError, FramingError) as error:
            lost = error if isinstance(error, OSError) else EOFError(str(error))
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
                if self._expected is not None and not self._expected[1].done():
                    self._expected[1].set_exception(lost)

    async def _serve_status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take status reports on a connection that the receiver opened."""
        with contextlib.suppress(OSError, EOFError, FramingError):
            while True:
                await self._take_status(understand(await read_frame(reader)), writer)
        writer.close()

    async def _take_status(self, received: Received | None, writer: asyncio.StreamWriter) -> None:
        if received is None or not received.is_status:
            log.warning("unexpected_message", subscription=self._subscription.name)
            return
        about = self._sent.get(received.acknowledgement.control_id)
        if about is None:
            log.warning("unknown_status", subscription=self._subscription.name)
        else:
            for state in received.states:
                self._on_answer(about, state, "")
        writer.write(frame(acknowledge(received, self._site, time.time())))
        await writer.drain()

    def _remember(self, number: str, about: Reference) -> None:
        self._sent[number] = about
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
