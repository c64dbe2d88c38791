"""The site-local directory keeps names to itself."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from alerts.console.directory import Directory, Entry

DIRECTORIES = 100


def test_an_entry_is_kept_replaced_and_removed(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "site" / "directory.sqlite")
    assert directory.get("p-1") is None
    written = directory.put(Entry("p-1", "Åse Ødegård", "3 West", "12", "70-79"))
    assert written.updated_at > 0
    assert directory.get("p-1") == written
    directory.put(Entry("p-1", "Åse Ødegård", "3 West", "14", "70-79", updated_at=5.0))
    directory.put(Entry("p-2"))
    assert {pseudonym: entry.bed for pseudonym, entry in directory.all().items()} == {"p-1": "14", "p-2": ""}
    assert directory.remove("p-1")
    assert not directory.remove("p-1")
    assert list(directory.all()) == ["p-2"]


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    directory = Directory(path)
    directory.put(Entry("p-0"))
    path.chmod(0o666)
    directory.put(Entry("p-1", "Åse Ødegård"))
    with sqlite3.connect(path) as reader:  # an open reader keeps the write-ahead log in place
        reader.execute("SELECT * FROM patient").fetchall()
        directory.put(Entry("p-2", "Olu Adeyemi"))
        files = list(tmp_path.iterdir())
        assert len(files) > 1
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    reader.close()


def test_a_removed_name_is_gone_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    directory = Directory(path)
    directory.put(Entry("p-1", "Wilhelmina Unforgettable"))
    directory.remove("p-1")
    assert b"Unforgettable" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    "entry", [Entry(""), Entry("p-1", "a\x1b[31mred"), Entry("p-1", "x" * 201), Entry("p-1", bed="1\n2")]
)
def test_text_that_cannot_be_shown_is_refused(tmp_path: Path, entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"pseudonym|display_name|bed"):
        Directory(tmp_path / "directory.sqlite").put(entry)


_WRITER = """
import sys
from alerts.console.directory import Directory, Entry
for number in range(50):
    Directory(sys.argv[1]).put(Entry(f"p-{sys.argv[2]}-{number}", "Name"))
"""


def test_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(number)]) for number in range(3)]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    assert len(Directory(path).all()) == 150


def test_many_processes_may_make_one_directory_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4, timeout=30)
    makers = [context.Process(target=_make_directories, args=(tmp_path, number, together)) for number in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0] * 4
    made = [Directory(tmp_path / f"{number}.sqlite") for number in range(DIRECTORIES)]
    assert {len(directory.all()) for directory in made} == {4}
    assert {file.suffix for file in tmp_path.iterdir()} == {".sqlite"}


def _make_directories(folder: Path, maker: int, together: Barrier) -> None:
    for number in range(DIRECTORIES):
        together.wait()
        Directory(folder / f"{number}.sqlite").put(Entry(f"p-{maker}"))
