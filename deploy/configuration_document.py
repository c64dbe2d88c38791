"""`docs/configuration.md` from the configuration's types: `python -m deploy.configuration_document`.

Names and defaults come from `contracts.configuration`; what each option does stands here, beside an example.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from contracts.configuration import SECRETS, Configuration, Subscription

_HEAD = """\
# Configuration

Written by `make docs` from `contracts/configuration.py`; do not edit.

Each process reads the same options. A later source stands above an earlier one:

1. the defaults below;
2. a TOML file: `--config FILE`, else `BIOTWIN_CONFIG`, else `biotwin.toml` in the working directory;
3. the environment: `BIOTWIN_KAFKA__BOOTSTRAP` is `bootstrap` of the section `kafka`, `BIOTWIN_SITE` is `site`;
   `BIOTWIN_TOKENS`, `BIOTWIN_SUBSCRIPTIONS`, `BIOTWIN_ESCALATION` and
   `BIOTWIN_OIDC__ROLES` take JSON;
4. options of the command line: `--set kafka.partitions=8`, `--kafka`, `--mqtt`, and a command's own.

`biotwin config show` prints what is in force, secrets masked. An unknown name is an error that says so.

```toml
site = "north"

[kafka]
bootstrap = "kafka-1:9092,kafka-2:9092"
replication = 3
min_insync_replicas = 2

[mqtt]
host = "mqtt.example"
port = 8883
tls = true

[[subscriptions]]
name = "paging"
channel = "webhook"
url = "https://paging.example/alerts"
secret = "at least sixteen characters"
priorities = ["high", "medium"]

[[escalation]]
name = "high"
steps = [{ subscription = "paging", within_s = 60 }]
```

"""

_SUBSCRIPTIONS = """\
## Subscriptions

Each `[[subscriptions]]` names its `channel`: "webhook", "email", "mllp" or "fhir". All take the first options, each
channel those of its own. [Delivery channels](delivery-channels.md) has the receiver's side.

| channel | option | default | effect |
| --- | --- | --- | --- |
"""

_TAIL = """\
## Other variables

| variable | effect |
| --- | --- |
| `BIOTWIN_LOG_LEVEL` | level of the logs: `DEBUG`, `INFO` (default), `WARNING`, `ERROR` |
| `BIOTWIN_AUTHOR` | author of commands sent by `biotwin patient` and `biotwin device`; default the login name |
| `BIOTWIN_MAVEN_URL` | Maven repository from which Kafka's jars come |
| `BIOTWIN_RECORDINGS` | folder of recordings for the tests that need one, or `none` |
| `BIOTWIN_KEEP_LOGS` | folder to which `biotwin demo` and `biotwin bench` copy the logs of their processes |
| `XDG_CACHE_HOME` | where Kafka's jars and compiled kernels are kept, under `biotwin/`; default `~/.cache` |
"""

EFFECTS: dict[str, tuple[str, str]] = {
    "site": ("name of the site in MQTT topics; lower-case letters, digits, dashes", '"north"'),
    "data": ("folder of the embedded brokers, the run files and Prometheus' configuration", '"/srv/biotwin"'),
    "tokens": (
        "HTTP token to its holder's name, who becomes the author of commands",
        '{ "a-long-secret" = "nurse-1" }',
    ),
    "subscriptions": (
        "who is told of which alerts, besides MQTT; [below](#subscriptions) is what each takes",
        "[]",
    ),
    "escalation": ("whom to call, in turn, when nobody answers: [on call](on-call.md#escalation)", "[]"),
    "watch.consoles": (
        "stations that must have a console open: [on call](on-call.md#what-must-be-there)",
        '["3-west"]',
    ),
    "watch.subscribers": ("MQTT subscribers that must be there, by the name they publish", '["pager-gateway"]'),
    "watch.lost_after_s": ("who is away for so long is a technical alarm; 10 or more", "120.0"),
    "kafka.bootstrap": ("brokers, host:port[,host:port]", '"kafka-1:9092,kafka-2:9092"'),
    "kafka.partitions": ("partitions of the topics keyed by patient; fixed for the life of the data", "8"),
    "kafka.replication": ("copies of each topic, when `biotwin kafka init` creates it", "3"),
    "kafka.min_insync_replicas": ("copies that must have a record before it counts as written", "2"),
    "kafka.group": (
        "consumer group of the workers; `-deliver`, `-deliver-{subscription}`, `-history` are added for the others",
        '"ward-a"',
    ),
    "kafka.session_timeout_s": (
        "a member that is silent for so long loses its partitions; half of it ends a frozen worker",
        "20.0",
    ),
    "kafka.heartbeat_s": ("how often a member says that it is there; a third of the session or less", "5.0"),
    "kafka.request_timeout_s": ("how long a request may take before it counts as failed", "60.0"),
    "mqtt.host": ("the MQTT broker's host", '"mqtt.example"'),
    "mqtt.port": ("its port", "8883"),
    "mqtt.username": ("user name; empty: none is sent", '"biotwin"'),
    "mqtt.password": ("password; masked wherever the configuration is shown", '"a secret"'),
    "mqtt.tls": ("encrypt, and check the broker's certificate", "true"),
    "mqtt.ca_file": ("certificate authorities to trust, in place of the system's", '"/etc/biotwin/ca.pem"'),
    "ingest.slot": ("which persistent MQTT session this process holds", "1"),
    "ingest.slots": ("how many ingest processes share the load; the same for all of them", "2"),
    "ingest.receive_maximum": ("messages held unacknowledged, at most", "2000"),
    "ingest.max_payload_bytes": ("a longer payload is quarantined unread", "262144"),
    "ingest.max_readings_per_payload": ("readings, or SenML records, in one payload, at most", "1000"),
    "ingest.max_values_per_reading": ("values in one reading, lists counted by their length, at most", "8192"),
    "ingest.future_tolerance_s": ("how far ahead of its arrival a reading may lie", "5.0"),
    "ingest.reconnect_min_s": (
        "first wait before connecting to MQTT again; `deliver` uses it for every receiver",
        "1.0",
    ),
    "ingest.reconnect_max_s": ("longest wait; it doubles in between, with jitter", "60.0"),
    "worker.instance": ("stable name of a worker: a restart within the session takes no rebalance", '"worker-1"'),
    "worker.model_set": ('signals, models and decoder: "clinical", or "package.module:ATTRIBUTE"', '"mine.models:SET"'),
    "worker.rules": ("rule file; empty: the shipped rules", '"rules.toml"'),
    "worker.checkpoint_bytes_per_s": ("what checkpoints may write, over all partitions of a worker", "1000000.0"),
    "worker.checkpoint_min_s": ("shortest time between two checkpoints of a partition", "5.0"),
    "worker.checkpoint_max_s": ("longest time between two checkpoints of a partition", "30.0"),
    "worker.twin_interval_s": ("how often changed twins are written to topic `twin`", "5.0"),
    "worker.stuck_after_s": ("a worker with records waiting and nothing moving for so long ends itself", "120.0"),
    "worker.ticks": ("write a tick a second; false only where a file brings its own", "false"),
    "worker.telemetry_topic": ("the log that the worker reads; ingest always writes `telemetry`", '"telemetry-test"'),
    "worker.fetch_records": ("records that one fetch may bring", "5000"),
    "history.directory": ("where the Parquet files go", '"/srv/biotwin/history"'),
    "history.seal_after_s": ("a file is finished, and its offsets committed, after so long", "300.0"),
    "history.seal_after_records": ("or after so many rows", "500000"),
    "console.host": ("address to listen on; beyond loopback behind a proxy with TLS", '"0.0.0.0"'),
    "console.port": ("port of the console; 0 takes a free one", "8443"),
    "console.public_url": ("what browsers call it, where a proxy stands before it", '"https://ward.hospital.example"'),
    "console.directory": ("site-local SQLite file with names, wards and beds", '"/srv/biotwin/directory.sqlite"'),
    "console.accounts": ("site-local SQLite file with accounts and sessions", '"/srv/biotwin/accounts.sqlite"'),
    "console.audit": ("site-local audit journal", '"/srv/biotwin/audit.jsonl"'),
    "console.session_idle_s": ("a session ends so long after its last use; an open page is a use", "900.0"),
    "console.session_longest_s": ("a session ends so long after it began", "28800.0"),
    "oidc.issuer": (
        "OpenID Connect provider by which people sign in; empty: by local accounts",
        '"https://id.example"',
    ),
    "oidc.client_id": ("what the provider calls the console", '"biotwin"'),
    "oidc.client_secret": ("secret of the client, if it has one; masked wherever it is shown", '"a secret"'),
    "oidc.ca_file": ("certificate authorities to trust, in place of the system's", '"/etc/biotwin/ca.pem"'),
    "oidc.scope": ("what is asked of the provider", '"openid profile groups"'),
    "oidc.account_claim": ("claim that names the account: no blanks, no person's own name", '"staff_id"'),
    "oidc.role_claim": ("claim that holds one text or a list of them", '"roles"'),
    "oidc.roles": ("role in the console by such a text", '{ "ward-3-nurses" = "clinician" }'),
    "deliver.mqtt": ("publish every alert over MQTT", "false"),
    "smtp.host": ("the mail server of e-mail subscriptions", '"mail.example"'),
    "smtp.port": ("its port; 587 for submission, 465 for TLS from the start", "465"),
    "smtp.tls": ('"starttls" encrypts after the greeting, "tls" from the start, "none" not at all', '"tls"'),
    "smtp.ca_file": ("certificate authorities to trust, in place of the system's", '"/etc/biotwin/ca.pem"'),
    "smtp.username": ("user name; empty: none is sent", '"biotwin"'),
    "smtp.password": ("password; masked wherever the configuration is shown", '"a secret"'),
    "smtp.sender": ("address that mails come from", '"biotwin@hospital.example"'),
    "metrics.host": ("address on which each process serves its metrics", '"10.0.0.5"'),
    "metrics.port": ("port of the metrics; 0 takes a free one, which the run file names", "9101"),
}
"""What each option does, and an example other than the default, by its dotted name."""

SUBSCRIPTION_EFFECTS: dict[str, str] = {
    "name": "name in consumer groups, receipts and metrics; of a system, not of a person",
    "priorities": "priorities to be told of: high, medium, low, none; empty: all",
    "rules": "ids of the rules to be told of; empty: all",
    "patients": "pseudonyms of the patients to be told of; empty: all",
    "wards": "wards to be told of, and patients of no known ward with them; empty: all",
    "provisional": "false: only what is settled",
    "expire_after_s": "what could not be delivered for so long is given up; 0: never",
    "receipt_within_s": "no receipt within so long escalates; 0: none is waited for",
    "role": "the role whose receiver this is, for steps of an escalation",
    "account": "the account whose receiver this is; goes before the role's",
    "only_escalated": "true: only what is escalated to it",
    "webhook.url": "https, or http to this machine itself",
    "webhook.secret": "signs the requests; at least 16 characters, masked wherever the configuration is shown",
    "webhook.ca_file": "certificate authorities to trust, in place of the system's",
    "webhook.timeout_s": "how long an answer may take",
    "fhir.url": "https, or http to this machine itself",
    "fhir.secret": "signs the requests; at least 16 characters, masked wherever the configuration is shown",
    "fhir.ca_file": "certificate authorities to trust, in place of the system's",
    "fhir.timeout_s": "how long an answer may take",
    "fhir.heartbeat_s": "how long it may be quiet before a heartbeat says that nothing is wrong",
    "email.to": "addresses, at least one",
    "email.interval_s": "shortest time between two mails; what comes in between goes in one",
    "mllp.host": "the alert manager's host",
    "mllp.port": "its port",
    "mllp.tls": "encrypt, and check the certificate",
    "mllp.ca_file": "certificate authorities to trust, in place of the system's",
    "mllp.timeout_s": "how long an acknowledgement may take",
    "mllp.status_host": "address on which to listen for status reports (PCD-05)",
    "mllp.status_port": "port for them; 0: none, they come on the connection of the alerts",
}
"""What each option of a subscription does; with the channel before it where the others have none of that name."""


def options(section: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, default) of every option."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, msgspec.Struct):
            yield from options(value, f"{name}.")
        else:
            yield prefix + name, value


def configuration_document() -> str:
    """The whole document. Raises `KeyError` for an option without an entry in `EFFECTS`."""
    sections: dict[str, list[str]] = {}
    for name, default in options(Configuration()):
        effect, example = EFFECTS[name]
        section, _, option = name.rpartition(".")
        shown = "*none*" if option in SECRETS and not default else f"`{_toml(default)}`"
        sections.setdefault(section, []).append(f"| `{option}` | {shown} | {effect} | `{example}` |\n")
    parts = [_HEAD]
    for section, rows in sorted(sections.items(), key=lambda item: item[0] != ""):
        title = f"`[{section}]`" if section else "Outside the sections"
        parts.append(f"## {title}\n\n| option | default | effect | example |\n| --- | --- | --- | --- |\n")
        parts.append("".join(rows) + "\n")
    parts.append(_subscriptions())
    return "".join(parts) + _TAIL


def _subscriptions() -> str:
    parts = [_SUBSCRIPTIONS]
    told: set[str] = set()
    for kind in get_args(Subscription):
        channel = kind.__struct_config__.tag
        for field in msgspec.structs.fields(kind):
            key = field.name if field.name in SUBSCRIPTION_EFFECTS else f"{channel}.{field.name}"
            if key not in told:
                told.add(key)
                takes = "all" if key == field.name else channel
                default = "*required*" if field.required else f"`{_toml(_default(field))}`"
                parts.append(f"| {takes} | `{field.name}` | {default} | {SUBSCRIPTION_EFFECTS[key]} |\n")
    return "".join(parts) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    sys.stdout.write(configuration_document())
