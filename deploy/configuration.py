"""The effective configuration: defaults, then a TOML file, then the environment, into which flags are put first.

`BIOTWIN_KAFKA__BOOTSTRAP` is the field `bootstrap` of the section `kafka`; `BIOTWIN_SITE` and `BIOTWIN_DATA` are the
fields outside the sections; `BIOTWIN_TOKENS`, `BIOTWIN_SUBSCRIPTIONS`, `BIOTWIN_ESCALATION` and
`BIOTWIN_OIDC__ROLES` take JSON.
The file is `BIOTWIN_CONFIG`, else `./biotwin.toml`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import unquote, urlsplit

import msgspec

from contracts.configuration import SECRETS, Configuration
from deploy.errors import UserError

PREFIX = "BIOTWIN_"
DEFAULT_FILE = "biotwin.toml"
MASK = "********"


class ConfigurationError(UserError):
    """A setting that cannot be used; the text names the file or variable, the field and what it takes."""


def load_configuration(
    file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """The effective configuration. `overrides` are dotted ("kafka.partitions") and stand above everything.

    Raises `ConfigurationError` naming what is wrong and where it was said.
    """
    environment = os.environ if environment is None else environment
    configuration = _from_file(file, environment)
    for variable, path, value in _settings_of(environment):
        configuration = _with(configuration, path, value, variable)
    for dotted, value in (overrides or {}).items():
        configuration = _with(configuration, dotted.split("."), value, dotted)
    return configuration


def _from_file(file: str | os.PathLike[str] | None, environment: Mapping[str, str]) -> Configuration:
    named = file or environment.get(PREFIX + "CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not path.is_file():
        if named:
            raise ConfigurationError(f"{path}: no such configuration file")
        return Configuration()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Configuration)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _settings_of(environment: Mapping[str, str]) -> Iterable[tuple[str, list[str], Any]]:
    """(variable, path, value) of every variable that sets a field; other BIOTWIN_ variables belong to other parts."""
    top = {field.name for field in msgspec.structs.fields(Configuration)}
    # Chains last, for they name subscriptions; the issuer last, for it needs the other settings of its section.
    last = {PREFIX + "ESCALATION", PREFIX + "OIDC__ISSUER"}
    for variable in sorted(environment, key=lambda name: (name in last, name)):
        if not variable.startswith(PREFIX):
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        value: Any = environment[variable]
        if path in (["tokens"], ["subscriptions"], ["escalation"], ["oidc", "roles"]):
            value = _json_of(variable, value)
        elif len(path) == 1 and path[0] not in top:
            continue
        yield variable, path, value


def _json_of(variable: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{variable}: takes JSON, as docs/configuration.md shows it ({error})") from error


def _with(struct: Any, path: list[str], value: Any, source: str) -> Any:
    """`struct` with one field changed; text is read as what the field is."""
    hints = get_type_hints(type(struct), include_extras=True)
    name, inner = path[0], path[1:]
    if name not in hints:
        raise ConfigurationError(f"{source}: there is no setting `{name}`; there are {', '.join(sorted(hints))}")
    current = getattr(struct, name)
    if isinstance(current, msgspec.Struct):
        if not inner:
            raise ConfigurationError(f"{source}: `{name}` is a section; name one of its settings")
        return msgspec.structs.replace(struct, **{name: _with(current, inner, value, source)})
    if inner:
        raise ConfigurationError(f"{source}: `{name}` is a setting, not a section")
    try:
        return msgspec.structs.replace(struct, **{name: msgspec.convert(value, hints[name], strict=False)})
    except (msgspec.ValidationError, ValueError) as error:
        shown = repr(value) if name not in SECRETS and isinstance(value, str) else MASK
        raise ConfigurationError(f"{source}: {shown} does not fit `{name}`: {error}") from error


def environment_of_flags(
    *, config: str = "", settings: Iterable[str] = (), kafka: str = "", mqtt: str = ""
) -> dict[str, str]:
    """The environment variables that say the same as the command's global options."""
    found: dict[str, str] = {}
    if config:
        found[PREFIX + "CONFIG"] = str(Path(config).absolute())
    if kafka:
        found[PREFIX + "KAFKA__BOOTSTRAP"] = kafka.removeprefix("kafka://").rstrip("/")
    if mqtt:
        found |= {PREFIX + "MQTT__" + name.upper(): value for name, value in mqtt_settings(mqtt).items()}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path:
            raise ConfigurationError(f"--set {setting}: takes name=value, as in kafka.partitions=8")
        found[PREFIX + path.upper().replace(".", "__")] = value
    return found


def mqtt_settings(url: str) -> dict[str, str]:
    """The settings of section `mqtt` that a URL mqtt[s]://[user:password@]host[:port] names."""
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"--mqtt: the port is not a number from 0 to 65535 ({error})") from error
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ConfigurationError("--mqtt: takes mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    settings = {"host": parts.hostname, "port": str(port or (8883 if tls else 1883)), "tls": str(tls).lower()}
    if parts.username:
        settings["username"] = unquote(parts.username)
    if parts.password:
        settings["password"] = unquote(parts.password)
    return settings


def shown(configuration: Configuration) -> dict[str, Any]:
    """The configuration as plain types, secrets masked."""
    masked: dict[str, Any] = _masked(msgspec.to_builtins(configuration))
    return masked


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: (MASK if inner else inner) if name in SECRETS else _masked(inner) for name, inner in value.items()}
