"""The one typed configuration that every process reads. `deploy/configuration.py` fills it from file, environment and
flags; here stand only the types, the defaults and what each field means.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from contracts.condition import Priority

Role = Literal["clinician", "charge_nurse", "operator", "auditor"]
"""What a person may be in the console."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Kafka(_Section, frozen=True):
    """`bootstrap` is host:port[,host:port]. `partitions` is fixed for the life of the data: a patient's row stays in
    its partition."""

    bootstrap: str = "127.0.0.1:9092"
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 4
    replication: Annotated[int, msgspec.Meta(ge=1)] = 1
    min_insync_replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    group: str = "biotwin"
    session_timeout_s: float = 10.0
    heartbeat_s: float = 3.0
    request_timeout_s: float = 30.0


class Mqtt(_Section, frozen=True):
    """`password` is masked wherever the configuration is shown."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""


class Ingest(_Section, frozen=True):
    """`slot` names the persistent MQTT session, `biotwin-{site}-ingest-{slot}`; `slots` is how many share the load.
    `receive_maximum` bounds what is held unacknowledged, `max_payload_bytes` what is looked at at all."""

    slot: Annotated[int, msgspec.Meta(ge=0)] = 0
    slots: Annotated[int, msgspec.Meta(ge=1)] = 1
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1000
    max_payload_bytes: int = 1_048_576
    max_readings_per_payload: int = 10_000
    max_values_per_reading: int = 4096
    future_tolerance_s: float = 2.0
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 30.0


class Worker(_Section, frozen=True):
    """`checkpoint_bytes_per_s` and `checkpoint_max_s` set the beat of checkpoints: what changed is written no faster
    than the first and no later than the second. `stuck_after_s` without a commit while records wait end the process."""

    instance: str = ""
    model_set: str = "clinical"
    rules: str = ""
    checkpoint_bytes_per_s: float = 5_000_000.0
    checkpoint_min_s: float = 1.0
    checkpoint_max_s: float = 60.0
    twin_interval_s: float = 1.0
    stuck_after_s: float = 60.0
    ticks: bool = True
    telemetry_topic: str = "telemetry"
    fetch_records: int = 20_000


class History(_Section, frozen=True):
    """Where the Parquet files go and when a file is sealed."""

    directory: str = "var/history"
    seal_after_s: float = 60.0
    seal_after_records: int = 200_000


class Console(_Section, frozen=True):
    """`directory`, `accounts` and `audit` are site-local files that their owner alone may read. `public_url` is what
    browsers call the console where a proxy stands before it. A session ends `session_idle_s` after its last use (an
    open page is one), and `session_longest_s` after it began."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: Annotated[str, msgspec.Meta(pattern="^(https?://[^/?#@]+)?$")] = ""
    directory: str = "var/directory.sqlite"
    accounts: str = "var/accounts.sqlite"
    audit: str = "var/audit.jsonl"
    session_idle_s: Annotated[float, msgspec.Meta(ge=60.0)] = 1800.0
    session_longest_s: Annotated[float, msgspec.Meta(ge=60.0)] = 43_200.0


class Oidc(_Section, frozen=True):
    """The OpenID Connect provider by which people sign in, in place of local accounts; none where `issuer` is empty.

    `account_claim` names the account, `role_claim` a text or list of texts, of which `roles` maps some to a role.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    ca_file: str = ""
    scope: str = "openid profile"
    account_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: dict[str, Role] = {}

    def __post_init__(self) -> None:
        if not self.issuer:
            return
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise ValueError("`issuer` must be https, except on this machine itself")
        if not self.client_id or not self.roles:
            raise ValueError("`issuer` needs `client_id` and `roles`")


class Deliver(_Section, frozen=True):
    """`mqtt` publishes every alert; the other channels take what their subscriptions ask for."""

    mqtt: bool = True


class Smtp(_Section, frozen=True):
    """The mail server of e-mail subscriptions. `tls` "starttls" encrypts after the greeting, "tls" from the start."""

    host: str = "127.0.0.1"
    port: Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str = ""
    username: str = ""
    password: str = ""
    sender: Annotated[str, msgspec.Meta(pattern="^[^@\\s]+@[^@\\s]+$")] = "biotwin@localhost"

    def __post_init__(self) -> None:
        if self.password and self.tls == "none":
            raise ValueError("a password would travel unencrypted: set `tls` to starttls or tls")


class _Subscription(_Section, frozen=True, kw_only=True, tag_field="channel"):
    """Who is told of which alerts. An empty list asks for all; `provisional` false leaves out what is not settled.

    What could not be delivered within `expire_after_s` of its arrival in `alerts` is given up; 0 never gives up.
    Without a receipt within `receipt_within_s` an alert escalates; 0 waits for none. `role` and `account` say whose
    receiver this is, for the steps of an escalation; with `only_escalated` it hears of nothing else.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    priorities: list[Priority] = []
    rules: list[str] = []
    patients: list[str] = []
    wards: list[str] = []
    provisional: bool = True
    expire_after_s: Annotated[float, msgspec.Meta(ge=0.0)] = 86_400.0
    receipt_within_s: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    role: str = ""
    account: str = ""
    only_escalated: bool = False


class MqttSubscription(_Subscription, frozen=True, kw_only=True, tag="mqtt"):
    """All alerts over MQTT, where subscribers choose by topic; `deliver.mqtt` stands for it, no file names it."""


class _HttpSubscription(_Subscription, frozen=True, kw_only=True):
    url: str
    secret: Annotated[str, msgspec.Meta(min_length=16)]
    ca_file: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0.0)] = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise ValueError("`url` takes https://host[:port]/path")
        if parts.username or parts.password:
            raise ValueError("`url` may hold no user name or password")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("`url` must be https, except to this machine itself")


class WebhookSubscription(_HttpSubscription, frozen=True, kw_only=True, tag="webhook"):
    """POSTs to `url`, signed with `secret`."""


class FhirSubscription(_HttpSubscription, frozen=True, kw_only=True, tag="fhir"):
    """FHIR R4 notifications to `url`, signed with `secret`: a handshake first, and a heartbeat after `heartbeat_s` of
    quiet."""

    heartbeat_s: Annotated[float, msgspec.Meta(gt=0.0)] = 60.0


class EmailSubscription(_Subscription, frozen=True, kw_only=True, tag="email"):
    """Mails to `to`, no more often than every `interval_s`: not a safety channel."""

    to: Annotated[list[Annotated[str, msgspec.Meta(pattern="^[^@\\s]+@[^@\\s]+$")]], msgspec.Meta(min_length=1)]
    interval_s: Annotated[float, msgspec.Meta(ge=0.0)] = 300.0


class MllpSubscription(_Subscription, frozen=True, kw_only=True, tag="mllp"):
    """IHE ACM PCD-04 over MLLP to `host`; PCD-05 comes back on the same connection, or to `status_port` (0: none)."""

    host: str
    port: Port
    tls: bool = False
    ca_file: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0.0)] = 10.0
    status_host: str = "127.0.0.1"
    status_port: Port = 0


Subscription = WebhookSubscription | EmailSubscription | MllpSubscription | FhirSubscription
"""What a file may name under `[[subscriptions]]`, told apart by `channel`."""


class EscalationStep(_Section, frozen=True):
    """Who is called: whoever has `role`, or `subscription` itself; the next step follows after `within_s`."""

    role: str = ""
    subscription: str = ""
    within_s: Annotated[float, msgspec.Meta(gt=0.0)] = 60.0

    def __post_init__(self) -> None:
        if bool(self.role) == bool(self.subscription):
            raise ValueError("a step names either a `role` or a `subscription`")


class EscalationChain(_Section, frozen=True):
    """Whom to call, in turn, about an alert that nobody answers. Of several chains the first that fits counts; an empty
    list fits everything, and a patient of no known ward fits every ward."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    steps: Annotated[list[EscalationStep], msgspec.Meta(min_length=1)]
    priorities: list[Priority] = msgspec.field(default_factory=lambda: list[Priority](["high"]))
    wards: list[str] = []


class Watch(_Section, frozen=True):
    """Who must be there: `consoles` by the station's name, `subscribers` by the name they publish over MQTT. Who is not
    for `lost_after_s`, and a subscription that cannot deliver for so long, is a technical alarm."""

    consoles: list[str] = []
    subscribers: list[str] = []
    lost_after_s: Annotated[float, msgspec.Meta(ge=10.0)] = 60.0


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Metrics(_Section, frozen=True):
    """Prometheus endpoints listen on `host`; `port` 0 takes a free one and prints it."""

    host: str = "127.0.0.1"
    port: Port = 0


class Configuration(_Section, frozen=True):
    """Everything a BioTwin process may be told."""

    site: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,32}$")] = "site"
    data: str = "var"
    kafka: Kafka = Kafka()
    mqtt: Mqtt = Mqtt()
    ingest: Ingest = Ingest()
    worker: Worker = Worker()
    history: History = History()
    console: Console = Console()
    oidc: Oidc = Oidc()
    metrics: Metrics = Metrics()
    deliver: Deliver = Deliver()
    smtp: Smtp = Smtp()
    subscriptions: list[Subscription] = []
    escalation: list[EscalationChain] = []
    watch: Watch = Watch()
    tokens: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.oidc.issuer and not self.console.public_url:
            raise ValueError("`oidc` needs `console.public_url`, to which its provider sends people back")
        names = [subscription.name for subscription in self.subscriptions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two subscriptions are called {', '.join(twice)}; each needs a name of its own")
        if MQTT in names:
            raise ValueError(f"no subscription may be called {MQTT}: `deliver.mqtt` is")
        for chain in self.escalation:
            for step in chain.steps:
                self._check_step(chain.name, step)

    def _check_step(self, chain: str, step: EscalationStep) -> None:
        names = {subscription.name for subscription in self.subscriptions} | ({MQTT} if self.deliver.mqtt else set())
        if step.subscription and step.subscription not in names:
            raise ValueError(f"escalation {chain}: there is no subscription {step.subscription}")
        reachable = any(one.account or one.role == step.role for one in self.subscriptions)
        if step.role and not reachable:
            raise ValueError(f"escalation {chain}: no subscription has `role` {step.role}, and none has an `account`")


MQTT = "mqtt"
"""Name of the subscription that `deliver.mqtt` stands for."""

SECRETS = frozenset({"password", "secret", "client_secret", "tokens"})
"""Fields that are masked wherever the configuration is shown. `tokens` maps an HTTP token to its holder's name."""
