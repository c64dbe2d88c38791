"""POSTs alerts to one URL until it answers with a 2xx or refuses for good."""

from __future__ import annotations

import time
from collections.abc import Callable

from alerts.delivery.channel import Outcome
from alerts.delivery.http_post import IN_FLIGHT, HttpPost
from alerts.delivery.notification import Notification
from alerts.delivery.webhook.request import headers
from contracts.configuration import WebhookSubscription


class WebhookChannel:
    """One receiver. Raises `OSError` for certificates that cannot be read."""

    in_flight = IN_FLIGHT
    ordered = True

    def __init__(self, subscription: WebhookSubscription, site: str) -> None:
        self._secret = subscription.secret
        self._site = site
        self._http = HttpPost(subscription)

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        await self._http.run()

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """One POST, as `HttpPost` has it."""
        on_sending()
        return await self._http.post(notification.value, headers(notification, self._site, self._secret, time.time()))
