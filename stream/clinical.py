"""The stages of a worker with the product's own processors."""

from __future__ import annotations

import time

from contracts.configuration import Configuration
from stream.agents import Stage
from stream.processors import processors
from stream.worker import worker_stages


def clinical_stages(configuration: Configuration) -> list[Stage]:
    """Twin agent, alert agent and router, all by one configuration and the rules in force now."""
    made = processors(configuration, time.time())
    return worker_stages(configuration, made.twin, made.alerts)
