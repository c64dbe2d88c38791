"""Write what Prometheus needs for one installation."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from contracts.configuration import Configuration
from deploy.process import run_folder


def write_prometheus(configuration: Configuration, folder: Path, interval: str = "5s") -> Path:
    """`prometheus.yml` and `rules.yml` into the folder; returns the first. `interval` is Prometheus' (5s, 1m)."""
    folder.mkdir(parents=True, exist_ok=True)
    source = files("deploy.prometheus")
    rules = folder / "rules.yml"
    rules.write_text((source / "rules.yml").read_text(encoding="utf-8"), encoding="utf-8")
    run = run_folder(configuration).absolute()
    run.mkdir(parents=True, exist_ok=True)
    text = (source / "prometheus.yml").read_text(encoding="utf-8")
    target = folder / "prometheus.yml"
    target.write_text(text.format(interval=interval, rules=rules.absolute(), run_folder=run), encoding="utf-8")
    return target
