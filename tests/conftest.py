"""Real brokers for the tests, and what tests need of the machine.

Tests marked `kafka`, `mqtt`, `prometheus` or `browser` run against the real thing. Where it is not installed they are
skipped with the reason; with CI set they fail instead, so that a green CI run has run them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from deploy.children import free_ports
from deploy.compiled_cache import use_compiled_cache
from deploy.kafka.scratch import ScratchKafka
from deploy.mqtt.mosquitto import INSTALL, MosquittoBroker, find_mosquitto

use_compiled_cache()  # before any test imports twin_state

REPOSITORY = Path(__file__).resolve().parent.parent
ON_CI = os.environ.get("CI", "").lower() in {"1", "true"}

hypothesis.settings.register_profile("biotwin", deadline=None, print_blob=True, derandomize=ON_CI)
hypothesis.settings.load_profile("biotwin")


def _missing_mosquitto() -> str:
    return "" if find_mosquitto() else f"no mosquitto: {INSTALL}"


def _missing_prometheus() -> str:
    return (
        "" if shutil.which("prometheus") else "no prometheus: sudo apt-get install --no-install-recommends prometheus"
    )


def _missing_chromium() -> str:
    found = any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return "" if found else "no chromium: sudo apt-get install --no-install-recommends chromium"


MISSING: dict[str, Callable[[], str]] = {
    "mqtt": _missing_mosquitto,
    "prometheus": _missing_prometheus,
    "browser": _missing_chromium,
}
"""What each marker needs: the reason why it cannot run here, or nothing."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing in MISSING.items():
        if item.get_closest_marker(marker) is not None and (reason := missing()):
            if ON_CI:
                pytest.fail(reason, pytrace=False)
            # A desk may lack a system package; `make test` names the command, and on CI the test has failed above.
            pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchKafka]:
    """A running Kafka without topics: `await kafka.create()` makes them, `await kafka.wipe()` deletes all.

    Tests that kill or stop it start their own `Broker`.
    """
    broker = ScratchKafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()
    shutil.rmtree(broker.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mqtt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoBroker]:
    """A running Mosquitto with the shipped configuration. Tests share it: use topics and client ids of your own."""
    broker = MosquittoBroker(tmp_path_factory.mktemp("mqtt"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recordings that are not part of the repository: BIOTWIN_RECORDINGS, else ../shared/data.

    Without them tests are skipped, with CI set they fail; BIOTWIN_RECORDINGS=none says that they are to be absent.
    """
    if os.environ.get("BIOTWIN_RECORDINGS") == "none":
        # Whoever has no licence for the recordings says so, and is told which tests that leaves out.
        pytest.skip("BIOTWIN_RECORDINGS=none: the recordings are not part of the repository")
    folder = Path(os.environ.get("BIOTWIN_RECORDINGS") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"no recordings at {folder}; set BIOTWIN_RECORDINGS"
        if ON_CI:
            pytest.fail(reason, pytrace=False)
        # The recordings may not be committed (licences): a clone alone has none; on CI the test has failed above.
        pytest.skip(reason)
    return folder
