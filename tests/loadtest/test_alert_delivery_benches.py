"""The benches of delivery in their small form: kills of whoever makes, delivers and receives alerts, many readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import orjson
import pytest

from alerts.delivery.email.digest import digest
from alerts.delivery.mllp.messages import control_id
from alerts.delivery.notification import Notification
from contracts.configuration import Configuration
from loadtest.alert_kill import run_alert_kills
from loadtest.alert_kill_feed import PARTS, AlertKillPlan, feed_lines, plan_kills
from loadtest.alert_kill_told import expected_keys, told_by
from loadtest.fan_out import FanOutPlan, run_fan_out
from tests.alerts.delivery_harness import alert, value_of

SMALL = AlertKillPlan(kills=4, seed=3, patients=10, duration_s=360.0, undisturbed=False)


def test_feed_and_kills_come_from_the_seed_and_every_part_has_its_turn() -> None:
    other = msgspec.structs.replace(SMALL, seed=4)
    assert feed_lines(SMALL, 0.0, "site") == feed_lines(SMALL, 0.0, "site") != feed_lines(other, 0.0, "site")
    full = AlertKillPlan()
    assert plan_kills(full, 10_000) == plan_kills(full, 10_000) != plan_kills(other, 10_000)
    turns = Counter(kill.part for kill in plan_kills(full, 10_000))
    assert set(turns) == set(PARTS)
    assert set(turns.values()) == {2, 3}


def test_what_receivers_wrote_down_is_known_by_the_keys_of_the_notifications(tmp_path: Path) -> None:
    told, unknown = [alert(1), alert(2)], alert(3)
    came = [Notification(one, value_of(one), 0.0) for one in (*told, told[0], unknown)]
    mails = [digest(came[:2], "site", "a@h.example", ["b@h.example"]), digest(came[2:], "site", "a@h.example", ["b@h"])]
    lines = {
        "mqtt": [one.value.decode() for one in came],
        "webhook": [f"{one.key} {one.value.decode()}" for one in came],
        "mllp": [f"MSH|^~\\&|||||||ORU^R40|{control_id(one.key)}|P" for one in came],
        "email": [orjson.dumps(mail.as_string()).decode() for mail in mails],
    }
    keys = expected_keys(told)
    for channel, written in lines.items():
        file = tmp_path / channel
        file.write_text("\n".join(written))
        found = told_by(channel, file, told)
        assert {key: found[key] for key in keys} == dict.fromkeys(keys, 1) | {str(came[0].key): 2}, channel
        assert len(found.keys() - keys) == 1, channel


@pytest.mark.kafka
@pytest.mark.mqtt
@pytest.mark.timeout(600)
def test_kills_of_whoever_delivers_alerts_tell_nobody_less_and_nobody_twice() -> None:
    said: list[str] = []
    result = run_alert_kills(Configuration(), SMALL, said.append)
    assert result["passed"], (result, said)
    assert result["kills"] == {"worker": 1, "webhook": 1, "deliver": 1, "console": 1}
    assert result["occurrences"] >= 10
    assert result["announced_by_a_tick"] > 0
    assert result["channels"].keys() == {"email", "fhir", "mllp", "mqtt", "phone", "sse", "webhook"}


@pytest.mark.kafka
@pytest.mark.mqtt
def test_subscribers_get_every_alert_while_one_of_each_kind_has_stopped_reading() -> None:
    plan = FanOutPlan(subscribers=12, mqtt=6, stalled=1, alerts=30, rate_per_s=20.0)
    result = run_fan_out(Configuration(), plan, lambda _text: None)
    assert result["complete"], result
    assert (result["sse"]["receipts"], result["mqtt"]["receipts"]) == (11 * 30, 5 * 30)
    assert result["sse"]["lost_connections"] == result["mqtt"]["lost_connections"] == 0
    assert result["sse"]["p99_ms"] < 2_000.0
