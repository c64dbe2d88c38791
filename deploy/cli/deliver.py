"""`biotwin deliver`."""

from __future__ import annotations


def deliver() -> None:
    """Publish alerts over MQTT: biotwin/v1/{site}/alerts/{priority}/{patient}, QoS 1, until told to stop."""
    from alerts.delivery.deliver import Deliverer
    from deploy.process import run_process

    raise SystemExit(run_process("deliver", lambda c, m, stop: Deliverer(c, m, stop).run()))
