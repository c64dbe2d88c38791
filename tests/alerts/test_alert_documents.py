"""The pages about rules and the alerts' life are those of what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.rules import DERIVED_CHANNELS
from deploy.alert_documents import CHANNEL_MEANINGS, pages

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "run: python -m deploy.alert_documents docs"


def test_every_channel_is_explained() -> None:
    assert set(CHANNEL_MEANINGS) == DERIVED_CHANNELS
