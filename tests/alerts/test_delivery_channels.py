"""Alerts reach real receivers over HTTP, SMTP, MLLP and MQTT, and every step of it is a receipt."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import orjson
import pytest
import trustme
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts.console.directory import Directory, Entry, WardBook
from alerts.delivery.deliver import Deliverer
from alerts.delivery.mllp.framing import frame
from alerts.delivery.mllp.messages import control_id
from alerts.delivery.notification import NotificationKey
from contracts.configuration import (
    Configuration,
    EmailSubscription,
    FhirSubscription,
    MllpSubscription,
    Smtp,
    Subscription,
    WebhookSubscription,
)
from contracts.metrics import ProcessMetrics
from contracts.receipt import Receipt
from deploy.children import free_ports
from deploy.mqtt.mosquitto import MosquittoBroker
from loadtest.receivers import (
    Mailbox,
    Reply,
    Request,
    acknowledgement,
    http_receiver,
    mllp_receiver,
    smtp_receiver,
)
from tests.alerts.delivery_harness import (
    alert,
    committed,
    deliver_process,
    delivering,
    key_of,
    metric,
    produce,
    until_committed,
    value_of,
)
from tests.alerts.delivery_harness import read_receipts as read
from tests.waiting import until

SECRET = "a secret of some length"

pytestmark = pytest.mark.kafka


def with_subscriptions(configuration: Configuration, *subscriptions: Subscription, **fields: Any) -> Configuration:
    return msgspec.structs.replace(configuration, subscriptions=list(subscriptions), **fields)


def webhook(port: int, name: str = "one", **fields: Any) -> WebhookSubscription:
    return WebhookSubscription(name=name, url=f"http://127.0.0.1:{port}/alerts", secret=SECRET, **fields)


def ended(receipts: list[Receipt]) -> list[Receipt]:
    return [one for one in receipts if one.state in {"delivered", "declined", "expired"}]


async def give(configuration: Configuration, *numbers: int, patient: str = "p1") -> None:
    await produce(configuration, [(patient.encode(), value_of(alert(number, patient))) for number in numbers])


async def test_a_webhook_gets_each_alert_once_signed_and_with_receipts(without_mqtt: Configuration) -> None:
    requests: list[Request] = []

    async def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(200, body=b'{"state": "accepted"}') if len(requests) == 1 else Reply()

    async with http_receiver(answer) as port:
        configuration = with_subscriptions(without_mqtt, webhook(port, patients=["p1"]))
        async with delivering(configuration) as metrics:
            await give(configuration, 1, 2, 1)
            await give(configuration, 3, patient="p2")
            await until_committed(configuration, 4, "one")
            receipts = await read(configuration, lambda found: len(found) >= 7)
    assert [request.body for request in requests] == [value_of(alert(1)), value_of(alert(2))]
    assert [request.headers["ce-id"] for request in requests] == [f"{number:016x}-onset-settled-1" for number in (1, 2)]
    assert [request.headers["idempotency-key"] for request in requests] == [
        request.headers["ce-id"] for request in requests
    ]
    steps = [(one.alert[-1], one.state, one.attempt) for one in sorted(receipts, key=lambda one: (one.alert, one.t))]
    assert steps == [
        *(("1", "queued", 0), ("1", "sent", 1), ("1", "delivered", 1), ("1", "accepted", 0)),
        *(("2", "queued", 0), ("2", "sent", 1), ("2", "delivered", 1)),
    ]
    assert {(one.channel, one.subscription, one.patient) for one in receipts} == {("webhook", "one", "p1")}
    labels = {"channel": "webhook", "subscription": "one"}
    assert metric(metrics, "biotwin_notifications_queued_total", labels) == 2
    assert metric(metrics, "biotwin_alerts_delivered_total", {"channel": "webhook"}) == 2
    assert metric(metrics, "biotwin_answers_total", {"channel": "webhook", "state": "accepted"}) == 1
    assert metric(metrics, "biotwin_oldest_undelivered_seconds", labels) < 60


async def test_a_webhook_is_asked_again_or_given_up_as_it_answers(without_mqtt: Configuration) -> None:
    replies = [
        *(Reply(503), Reply(429, {"Retry-After": "0"}), Reply(408), Reply()),
        *(Reply(404), Reply(302, {"Location": "http://127.0.0.1:1/"}), Reply()),
    ]
    seen: list[str] = []

    async def answer(request: Request) -> Reply:
        seen.append(orjson.loads(request.body)["id"][-1])
        return replies.pop(0)

    async with http_receiver(answer) as port:
        configuration = with_subscriptions(without_mqtt, webhook(port))
        async with delivering(configuration) as metrics:
            await give(configuration, 1, 2, 3, 4)
            await until_committed(configuration, 4, "one")
            receipts = await read(configuration, lambda found: len(ended(found)) >= 4)
    assert seen == ["1", "1", "1", "1", "2", "3", "4"]
    outcomes = {one.alert[-1]: (one.state, one.attempt, one.detail) for one in ended(receipts)}
    assert outcomes == {
        "1": ("delivered", 4, "HTTP 204"),
        "2": ("declined", 1, "HTTP 404"),
        "3": ("declined", 1, "HTTP 302"),
        "4": ("delivered", 1, "HTTP 204"),
    }
    again = [one.detail for one in receipts if one.state == "queued" and one.attempt]
    assert again == ["HTTP 503", "HTTP 429", "HTTP 408"]
    labels = {"channel": "webhook", "subscription": "one"}
    assert metric(metrics, "biotwin_notification_retries_total", labels) == 3
    assert metric(metrics, "biotwin_notifications_failed_total", labels | {"state": "declined"}) == 2


async def test_a_stalled_receiver_and_a_dead_one_hold_up_no_other(without_mqtt: Configuration) -> None:
    stalled = asyncio.Event()
    got: list[str] = []

    async def stall(_request: Request) -> Reply:
        stalled.set()
        await asyncio.Event().wait()
        return Reply()

    async def answer(request: Request) -> Reply:
        got.append(orjson.loads(request.body)["id"])
        return Reply()

    async with http_receiver(stall) as slow, http_receiver(answer) as quick:
        (dead,) = free_ports(1)
        subscriptions = [webhook(slow, "slow", timeout_s=120.0), webhook(dead, "dead"), webhook(quick, "quick")]
        configuration = with_subscriptions(without_mqtt, *subscriptions)
        async with delivering(configuration) as metrics:
            await give(configuration, *range(700))  # more than a window holds
            await until_committed(configuration, 700, "quick")
            await asyncio.wait_for(stalled.wait(), 60)
            assert await committed(configuration, "slow") == await committed(configuration, "dead") == 0
            await give(configuration, 700)
            await until_committed(configuration, 701, "quick")
            await until(lambda: metric(metrics, "biotwin_records_total", {"agent": "deliver-dead"}) >= 500)
    assert len(got) == len(set(got)) == 701
    assert got == sorted(got)
    assert metric(metrics, "biotwin_oldest_undelivered_seconds", {"channel": "webhook", "subscription": "dead"}) > 0


async def test_a_message_that_the_receiver_chokes_on_holds_up_its_patient_alone(without_mqtt: Configuration) -> None:
    got: list[str] = []
    well = asyncio.Event()

    async def answer(request: Request) -> Reply:
        body = orjson.loads(request.body)
        if body["id"][-1] == "1" and not well.is_set():
            return Reply(500)
        got.append(body["id"][-1])
        return Reply()

    async with http_receiver(answer) as port:
        configuration = with_subscriptions(without_mqtt, webhook(port))
        async with delivering(configuration):
            await give(configuration, 1, 2)
            await give(configuration, 3, 4, patient="p2")
            await until(lambda: set(got) == {"3", "4"})
            well.set()
            await until_committed(configuration, 4, "one")
    assert got == ["3", "4", "1", "2"]


async def test_what_nobody_took_in_its_time_expires_with_a_receipt(without_mqtt: Configuration) -> None:
    (dead,) = free_ports(1)
    configuration = with_subscriptions(without_mqtt, webhook(dead, expire_after_s=5.0))
    async with delivering(configuration) as metrics:
        await give(configuration, 1, 2)
        await until_committed(configuration, 2, "one")
        receipts = await read(configuration, lambda found: len(ended(found)) >= 2)
    assert {one.state for one in ended(receipts)} == {"expired"}
    labels = {"channel": "webhook", "subscription": "one", "state": "expired"}
    assert metric(metrics, "biotwin_notifications_failed_total", labels) == 2


async def test_wards_come_from_the_directory_and_the_unknown_is_told(
    without_mqtt: Configuration, tmp_path: Path
) -> None:
    directory = Directory(tmp_path / "directory.sqlite")
    directory.put(Entry("north", display_name="Somebody", ward="North"))
    directory.put(Entry("south", ward="South"))
    got: list[str] = []

    async def answer(request: Request) -> Reply:
        got.append(orjson.loads(request.body)["patient"])
        return Reply()

    async with http_receiver(answer) as port:
        configuration = with_subscriptions(without_mqtt, webhook(port, wards=["North"]))
        stop = asyncio.Event()
        deliverer = Deliverer(configuration, ProcessMetrics(), stop, ward_of=WardBook(directory).ward_of)
        running = asyncio.create_task(deliverer.run())
        for number, patient in enumerate(["north", "south", "nowhere", ""]):
            await give(configuration, number, patient=patient)
        await until_committed(configuration, 4, "one")
        stop.set()
        await asyncio.wait_for(running, 30)
    assert sorted(got) == ["", "north", "nowhere"]


async def test_mails_are_few_and_tell_everything(without_mqtt: Configuration) -> None:
    mails: list[Envelope] = []
    mailbox = Mailbox(mails.append)
    mailbox.reply = "451 not now"
    (port,) = free_ports(1)
    subscription = EmailSubscription(name="one", to=["ward@h.example", "desk@h.example"], interval_s=1.0)
    configuration = with_subscriptions(without_mqtt, subscription, smtp=Smtp(port=port, tls="none"))
    async with smtp_receiver(mailbox, port), delivering(configuration) as metrics:
        labels = {"channel": "email", "subscription": "one"}
        await give(configuration, *range(200))
        await until(lambda: metric(metrics, "biotwin_notification_retries_total", labels) > 0)
        assert await committed(configuration, "one") == 0
        mailbox.reply = "250 OK"
        await until_committed(configuration, 200, "one")
        mailbox.reply = "554 never"
        await give(configuration, 999)
        receipts = await read(configuration, lambda found: len(ended(found)) >= 201)
    assert len(mails) < 10
    assert mails[0].rcpt_tos == ["ward@h.example", "desk@h.example"]
    text = b"".join(mail.original_content or b"" for mail in mails).decode()
    assert len(re.findall(r"^Patient p1: SpO2 is 82 %, below 85 %\.", text, re.MULTILINE)) == 200
    declined = [one for one in receipts if one.state == "declined"]
    assert [(int(one.alert, 16), one.detail) for one in declined] == [(999, "the mail was refused: SMTP 554")]
    assert "h.example" not in str(receipts)


async def test_mllp_waits_for_acknowledgements_and_takes_status_reports(without_mqtt: Configuration) -> None:
    codes = iter(["", "AA", "AE", "AA"])
    heard: list[str] = []

    async def hear(message: bytes, writer: asyncio.StreamWriter) -> None:
        number = message.decode().split("\r")[0].split("|")[9]
        if not message.startswith(b"MSH|^~\\&|BIOTWIN|") or b"ORU^R40" not in message:
            return
        heard.append(number)
        code = next(codes)
        if not code:  # breaks off before it acknowledges
            writer.close()
            return
        writer.write(frame(acknowledgement(message, code)))
        if len(heard) == 2:
            status = f"MSH|^~\\&|AM||AR||20260101||ORA^R41^ORA_R41|s1|P|2.6\rMSA|AA|{number}\rPRT|1|UC|Read|AAP\r"
            writer.write(frame(status.encode()))
        await writer.drain()

    (status_port,) = free_ports(1)
    async with mllp_receiver(hear) as port:
        subscription = MllpSubscription(name="one", host="127.0.0.1", port=port, status_port=status_port)
        configuration = with_subscriptions(without_mqtt, subscription)
        async with delivering(configuration) as metrics:
            await give(configuration, 1, 2, 3)
            await until_committed(configuration, 3, "one")
            reader, writer = await asyncio.open_connection("127.0.0.1", status_port)
            third = control_id(NotificationKey(*key_of(alert(3))))  # type: ignore[arg-type]
            status = f"MSH|^~\\&|AM||AR||20260101||ORA^R41^ORA_R41|s2|P|2.6\rMSA|AA|{third}\rPRT|1|UC|Accepted|AAP\r"
            writer.write(frame(status.encode()))
            acknowledged = await reader.readuntil(b"\x1c\r")
            writer.close()
            receipts = await read(configuration, lambda found: {"read", "accepted"} <= {one.state for one in found})
    assert b"MSA|AA|s2" in acknowledged
    assert len(heard) == 4
    assert heard[0] == heard[1]
    last = {one.alert[-1]: one.state for one in ended(receipts)}
    assert last == {"1": "delivered", "2": "declined", "3": "delivered"}
    assert {(one.alert[-1], one.state) for one in receipts if one.state in {"read", "accepted"}} == {
        ("1", "read"),
        ("3", "accepted"),
    }
    assert metric(metrics, "biotwin_answers_total", {"channel": "mllp", "state": "read"}) == 1


@pytest.mark.mqtt
async def test_a_subscriber_answers_on_the_response_topic(configuration: Configuration, mqtt: MosquittoBroker) -> None:
    async with aiomqtt.Client(mqtt.host, mqtt.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"biotwin/v1/{configuration.site}/alerts/#", qos=1)
        async with delivering(configuration):
            await give(configuration, 1)
            message = await asyncio.wait_for(anext(aiter(client.messages)), 60)
            assert message.properties is not None
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = message.properties.CorrelationData  # type: ignore[attr-defined]
            topic = message.properties.ResponseTopic  # type: ignore[attr-defined]
            for payload in (b"nonsense", b'{"state": "sent"}', b'{"state": "accepted"}'):
                await client.publish(topic, payload, qos=1, properties=properties)
            await client.publish(topic, b'{"state": "read"}', qos=1)  # says not of what
            receipts = await read(
                configuration, lambda found: {"delivered", "accepted"} <= {one.state for one in found}
            )
    assert topic == f"biotwin/answers/v1/{configuration.site}"
    assert [one.state for one in receipts][:2] == ["queued", "sent"]
    # The subscriber may answer before the broker's own acknowledgement is looked at.
    assert sorted(one.state for one in receipts[2:]) == ["accepted", "delivered"]
    assert {(one.alert, one.patient, one.channel) for one in receipts} == {(f"{1:016x}", "p1", "mqtt")}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate authority's file, and a server's side with a certificate of it for this machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    return str(tmp_path / "ca.pem"), tls


async def test_tls_is_used_and_certificates_are_checked(
    without_mqtt: Configuration, certificate: tuple[str, ssl.SSLContext]
) -> None:
    ca_file, tls = certificate
    posts: list[Request] = []
    reports: list[bytes] = []
    mails: list[Envelope] = []

    async def answer(request: Request) -> Reply:
        posts.append(request)
        return Reply()

    async def hear(message: bytes, writer: asyncio.StreamWriter) -> None:
        reports.append(message)
        writer.write(frame(acknowledgement(message)))
        await writer.drain()

    def log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"biotwin", b"hunter2"))

    (smtp_port,) = free_ports(1)
    mail_server = smtp_receiver(
        Mailbox(mails.append),
        smtp_port,
        tls_context=tls,
        require_starttls=True,
        auth_required=True,
        authenticator=log_in,
    )
    async with http_receiver(answer, tls=tls) as https, mllp_receiver(hear, tls=tls) as mllps, mail_server:
        hook = WebhookSubscription(name="hook", url=f"https://127.0.0.1:{https}/", secret=SECRET, ca_file=ca_file)
        configuration = with_subscriptions(
            without_mqtt,
            hook,
            msgspec.structs.replace(hook, name="trusts-others", ca_file=""),
            MllpSubscription(name="report", host="127.0.0.1", port=mllps, tls=True, ca_file=ca_file),
            EmailSubscription(name="mail", to=["ward@h.example"]),
            smtp=Smtp(port=smtp_port, ca_file=ca_file, username="biotwin", password="hunter2"),
        )
        async with delivering(configuration):
            await give(configuration, 1)
            for name in ("hook", "report", "mail"):
                await until_committed(configuration, 1, name)
            receipts = await read(
                configuration,
                lambda found: any(one.attempt and one.state == "queued" for one in found) and len(ended(found)) == 3,
            )
            assert await committed(configuration, "trusts-others") == 0
    assert (len(posts), len(reports), len(mails)) == (1, 1, 1)
    refused = [one for one in receipts if one.subscription == "trusts-others" and one.detail]
    assert "CERTIFICATE_VERIFY_FAILED" in refused[0].detail


async def test_two_deliverers_share_the_partitions_and_lose_nothing(without_mqtt: Configuration) -> None:
    got: list[str] = []

    async def answer(request: Request) -> Reply:
        got.append(request.headers["idempotency-key"])
        return Reply()

    async with http_receiver(answer) as port:
        configuration = with_subscriptions(without_mqtt, webhook(port))
        async with delivering(configuration) as first:
            await produce(configuration, [(f"p{n}".encode(), value_of(alert(n, f"p{n}"))) for n in range(200)])
            async with delivering(configuration) as second:
                records = {"agent": "deliver-one"}
                number = 200
                while not metric(second, "biotwin_records_total", records):  # until it has taken a partition over
                    await produce(configuration, [(f"p{number}".encode(), value_of(alert(number, f"p{number}")))])
                    number += 1
            await produce(configuration, [(f"p{n}".encode(), value_of(alert(n, f"p{n}"))) for n in (9000, 9001, 9002)])
            await until_committed(configuration, number + 3, "one")
    assert metric(first, "biotwin_records_total", records) > 0
    assert set(got) == {f"{n:016x}-onset-settled-1" for n in (*range(number), 9000, 9001, 9002)}


@contextlib.contextmanager
def receiver_process(channel: str, port: int, file: Path) -> Any:
    process = subprocess.Popen([sys.executable, "-m", "loadtest.receivers", channel, str(port), str(file)])
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(params=["webhook", "email", "mllp", "fhir"])
async def killed(request: pytest.FixtureRequest, without_mqtt: Configuration) -> tuple[str, int, Configuration]:
    (port,) = free_ports(1)
    subscriptions: dict[str, Subscription] = {
        "webhook": webhook(port, timeout_s=2.0),
        "email": EmailSubscription(name="one", to=["ward@h.example"], interval_s=0.2),
        "mllp": MllpSubscription(name="one", host="127.0.0.1", port=port, timeout_s=2.0),
        "fhir": FhirSubscription(name="one", url=f"http://127.0.0.1:{port}/fhir", secret=SECRET, timeout_s=2.0),
    }
    smtp = Smtp(port=port if request.param == "email" else 25, tls="none")
    return request.param, port, with_subscriptions(without_mqtt, subscriptions[request.param], smtp=smtp)


async def test_kills_of_receiver_and_deliverer_lose_nothing_and_repeats_say_so(
    killed: tuple[str, int, Configuration], tmp_path: Path
) -> None:
    channel, port, configuration = killed
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    file = tmp_path / "received"
    file.touch()
    count = 300
    alerts = [
        msgspec.structs.replace(alert(number, f"p{number % 7}"), message=f"<{number}>") for number in range(count)
    ]

    def received() -> list[str]:
        return file.read_text().splitlines()

    def told() -> set[int]:
        return {int(number) for line in received() for number in re.findall(r"<(\d+)>", line)}

    for number, kill_receiver in enumerate((True, False, True, False, True)):
        goal = number * 60 + chance.randrange(1, 60)
        batch = alerts[number * 60 : number * 60 + 60]
        await produce(configuration, [(one.patient.encode(), value_of(one)) for one in batch])
        with (
            receiver_process(channel, port, file) as receiver,
            deliver_process(configuration, tmp_path) as deliverer,
        ):
            await until(lambda goal=goal: len(told()) >= goal)  # type: ignore[misc]
            (receiver if kill_receiver else deliverer).send_signal(signal.SIGKILL)
            await asyncio.sleep(chance.random() * 0.5)
    with receiver_process(channel, port, file), deliver_process(configuration, tmp_path):
        await until(lambda: len(told()) == count)
        await until_committed(configuration, count, "one")
    if channel in {"webhook", "fhir"}:
        by_alert: dict[str, set[str]] = {}
        for line in received():
            key, _, body = line.partition(" ")
            by_alert.setdefault(orjson.loads(body)["id"], set()).add(key)
        assert {len(keys) for keys in by_alert.values()} == {1}
        assert len(by_alert) == count
    if channel == "mllp":
        pairs = {(line.split("|")[9], match[1]) for line in received() if (match := re.search(r"<(\d+)>", line))}
        assert len(pairs) == count
