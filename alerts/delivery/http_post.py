"""One HTTP receiver that is POSTed to, and what its answers mean for a notification."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus

import httpx
import msgspec

from alerts.delivery.channel import Declined, Delivered, Outcome, Retry, client_tls
from alerts.delivery.receipts import AnswerState, decode_answer
from alerts.delivery.webhook.request import asked_s
from contracts.configuration import FhirSubscription, WebhookSubscription

IN_FLIGHT = 8
MOST_ANSWER_BYTES = 4096

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each URL, and some receivers keep a secret in theirs


class HttpPost:
    """POSTs to one URL. Certificates are checked, redirects are not followed, proxies of the environment are not used.

    Raises `OSError` for certificates that cannot be read.
    """

    def __init__(self, subscription: WebhookSubscription | FhirSubscription) -> None:
        self._subscription = subscription
        self._client = httpx.AsyncClient(
            verify=client_tls(subscription.ca_file, f"subscriptions.{subscription.name}.ca_file"),
            timeout=subscription.timeout_s,
            limits=httpx.Limits(max_connections=IN_FLIGHT),
            follow_redirects=False,
            trust_env=False,
        )

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        async with self._client:
            await asyncio.Event().wait()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """One POST. A receiver that is away, overloaded (408, 429) or broken (5xx) is asked again; another refusal, and
        a redirect, is final."""
        url = self._subscription.url
        try:
            # httpx counts its timeout from byte to byte; a receiver that trickles would hold us for ever.
            async with (
                asyncio.timeout(self._subscription.timeout_s),
                self._client.stream("POST", url, content=body, headers=headers) as response,
            ):
                answer = await _answer(response)
        except TimeoutError:
            return Retry("no answer in time")
        except httpx.HTTPError as error:
            return Retry(f"{type(error).__name__} {error}")
        status = response.status_code
        said = f"HTTP {status}"
        if response.is_success:
            return Delivered(said, answer)
        if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or response.is_server_error:
            return Retry(said, asked_s(response.headers.get("Retry-After"), time.time()))
        return Declined(said)


async def _answer(response: httpx.Response) -> AnswerState | None:
    """What the body says of the notification, if anything; no more of it is read than an answer can be long."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            return None
    try:
        return decode_answer(body).state
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
