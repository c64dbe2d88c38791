"""Sends mails to one subscription's recipients: the first at once, then no more than one an interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiosmtplib

from alerts.delivery.channel import Declined, Delivered, Outcome, Retry, client_tls
from alerts.delivery.email.digest import digest
from alerts.delivery.notification import Notification
from contracts.configuration import EmailSubscription, Smtp

MOST_IN_A_MAIL = 500
SMTP_TIMEOUT_S = 30.0
PERMANENT = range(500, 600)
"""SMTP's replies that say never (RFC 5321, 4.2.1); 4yz says not now."""

Waiting = tuple[Notification, Callable[[], None], "asyncio.Future[Outcome]"]


class EmailChannel:
    """One list of recipients. What comes within `interval_s` of a mail waits and goes in the next one together.

    Raises `OSError` for certificates that cannot be read.
    """

    in_flight = MOST_IN_A_MAIL
    ordered = False

    def __init__(self, subscription: EmailSubscription, smtp: Smtp, site: str) -> None:
        self._subscription = subscription
        self._smtp = smtp
        self._site = site
        self._tls = client_tls(smtp.ca_file, "smtp.ca_file") if smtp.tls != "none" else None
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """Wait for the next mail and go with it."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((notification, on_sending, outcome))
        return await outcome

    async def run(self) -> None:
        """Send a mail whenever something waits and the interval is over; until cancelled."""
        last = -self._subscription.interval_s
        while True:
            first = await self._waiting.get()
            await asyncio.sleep(max(last + self._subscription.interval_s - time.monotonic(), 0.0))
            batch = [first]
            while len(batch) < MOST_IN_A_MAIL and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [one for one in batch if not one[2].done()]
            if not batch:
                continue
            outcome = await self._mail(batch)
            if isinstance(outcome, Delivered):
                last = time.monotonic()
            for _, _, waiting in batch:
                if not waiting.done():
                    waiting.set_result(outcome)

    async def _mail(self, batch: list[Waiting]) -> Outcome:
        message = digest([one for one, _, _ in batch], self._site, self._smtp.sender, self._subscription.to)
        for _, on_sending, _ in batch:
            on_sending()
        smtp = self._smtp
        try:
            refused, _ = await aiosmtplib.send(
                message,
                hostname=smtp.host,
                port=smtp.port,
                username=smtp.username or None,
                password=smtp.password or None,
                use_tls=smtp.tls == "tls",
                start_tls=smtp.tls == "starttls",
                tls_context=self._tls,
                timeout=SMTP_TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [recipient.code for recipient in error.recipients]
            return _outcome("no recipient was accepted", codes)
        except aiosmtplib.SMTPDataError as error:
            return _outcome("the mail was refused", [error.code])
        except aiosmtplib.SMTPResponseException as error:
            # A wrong password or sender is put right in the configuration, and then the same mail goes out.
            return Retry(f"{type(error).__name__} {error.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Retry(type(error).__name__)
        return Delivered(f"{len(refused)} recipients were refused" if refused else "")


def _outcome(what: str, codes: list[int]) -> Outcome:
    """The server's words are not repeated: they often hold the recipient's address."""
    said = f"{what}: SMTP {', '.join(map(str, sorted(set(codes))))}"
    return Declined(said) if all(code in PERMANENT for code in codes) else Retry(said)
