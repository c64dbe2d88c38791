"""The undocumented names of Faust and aiokafka that the transport leans on: each exists and does what we think.

When this fails after an upgrade, read `stream/transport.py` beside the new sources before changing anything here.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from importlib import import_module
from importlib.metadata import version
from typing import Any

import aiokafka
import pytest
from aiokafka.consumer.fetcher import Fetcher
from faust.app import App
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

from stream import transport


def resolve(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


NAMES = [
    (owner, name)
    for table in (transport.FAUST_NAMES, transport.AIOKAFKA_NAMES)
    for owner, names in table.items()
    for name in names
]


def test_versions_are_those_that_were_read() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka") == "0.14.0"


def knows(owner: Any, name: str) -> bool:
    """Whether a class has or declares an attribute."""
    return hasattr(owner, name) or any(name in vars(base).get("__annotations__", {}) for base in owner.__mro__)


@pytest.mark.parametrize(("owner", "name"), NAMES)
def test_name_exists(owner: str, name: str) -> None:
    assert knows(resolve(owner), name)


def test_every_private_name_that_the_transport_uses_is_listed() -> None:
    tree = ast.parse(inspect.getsource(transport))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    overridden = {
        item.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("__")
    }
    listed = {name for names in transport.FAUST_NAMES.values() for name in names}
    inherited = {name for name in used | overridden if knows(driver.Consumer, name) or knows(driver.Producer, name)}
    public = {name for name in inherited if not name.startswith("_")} - {"wait_empty", "perform_seek", "wait_first"}
    assert inherited - public <= listed


def body(function: Any) -> str:
    return textwrap.dedent(inspect.getsource(function))


def test_wait_empty_is_passed_at_a_rebalance_and_at_the_end() -> None:
    assert "_consumer_wait_empty" in body(App._on_partitions_revoked)
    assert "_consumer_wait_empty" in body(App._stop_consumer)
    assert "wait_empty" in body(App._consumer_wait_empty)


def test_state_is_restored_before_records_flow() -> None:
    source = body(Recovery._resume_streams)
    assert source.index("on_rebalance_complete.send") < source.index("perform_seek") < source.index("resume_flow")


def test_what_is_committed_comes_from_new_offset_alone() -> None:
    assert "_new_offset" in body(faust_consumer.Consumer._filter_committable_offsets)
    assert "_filter_tps_with_pending_acks" in body(faust_consumer.Consumer.force_commit)
    assert "_commit_offsets" in body(faust_consumer.Consumer._commit_tps)


def test_a_fetch_brings_lists_of_records_by_partition() -> None:
    assert "fetched_records" in body(driver.AIOKafkaConsumerThread._fetch_records)
    assert list(inspect.signature(driver.Consumer._getmany).parameters) == ["self", "active_partitions", "timeout"]


def test_a_fetch_is_built_from_the_fetchers_patience_and_leaves_out_what_waits_here() -> None:
    source = body(Fetcher._get_actions_per_node)
    assert "if tp in self._records" in source
    assert "self._fetch_max_wait_ms" in source
    assert "self._get_actions_per_node(assignment)" in body(Fetcher._fetch_requests_routine)
    assert "await self._consumer.start()" in body(driver.AIOKafkaConsumerThread.on_start)


def test_the_drain_loop_waits_with_two_coroutines() -> None:
    source = body(faust_consumer.Consumer._drain_messages)
    assert "callback(message), self.suspend_flow.wait()" in source.replace("\n", " ").replace("  ", "")
    assert "offset >= r_offset" in source


def test_the_producer_hands_over_aiokafkas_own() -> None:
    assert "_producer" in body(driver.Producer._ensure_producer)
    parameters = list(inspect.signature(aiokafka.AIOKafkaProducer.send).parameters)
    assert parameters[:5] == ["self", "topic", "value", "key", "partition"]
    assert "headers" in parameters
