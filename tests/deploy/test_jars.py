"""Jars: a broken download goes on where it stopped, a wrong file is refused, offline is said plainly."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from deploy.jars import FHIR_VALIDATOR, KAFKA, Jar, JarsError, ensure_jars, locked_jars

CONTENT = bytes(range(256)) * 4096


def jar_of(name: str, content: bytes) -> Jar:
    return Jar("org.example.deep", name, "1.0", f"{name}-1.0.jar", len(content), hashlib.sha256(content).hexdigest())


class Maven:
    """A repository on loopback. `break_after` cuts the first answer to each path after so many bytes; `requests` holds
    (path, Range header)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.break_after = 0

    def offer(self, jar: Jar, content: bytes) -> None:
        self.files[f"/{jar.path}"] = content


@pytest.fixture
def maven(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maven]:
    repository = Maven()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = all(path != self.path for path, _ in repository.requests)
            asked = self.headers.get("Range", "")
            repository.requests.append((self.path, asked))
            if self.path not in repository.files:
                self.send_error(404)
                return
            body = repository.files[self.path][int(asked.removeprefix("bytes=").rstrip("-") or 0) :]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: repository.break_after] if first and repository.break_after else body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("BIOTWIN_MAVEN_URL", f"http://127.0.0.1:{server.server_address[1]}/")
    yield repository
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_broken_download_goes_on_where_it_stopped(maven: Maven, tmp_path: Path) -> None:
    jars = tuple(jar_of(name, CONTENT + name.encode()) for name in ("one", "two", "three"))
    for jar in jars:
        maven.offer(jar, CONTENT + jar.artifact.encode())
    maven.break_after = 300_000
    ensure_jars(KAFKA, tmp_path, jars)
    for jar in jars:
        assert (tmp_path / jar.file).read_bytes() == CONTENT + jar.artifact.encode()
        assert [asked for path, asked in maven.requests if path == f"/{jar.path}"] == ["", "bytes=300000-"]
    assert not list(tmp_path.glob("*.part"))


def test_a_part_left_by_a_killed_process_is_used(maven: Maven, tmp_path: Path) -> None:
    jar = jar_of("one", CONTENT)
    maven.offer(jar, CONTENT)
    (tmp_path / f"{jar.file}.part").write_bytes(CONTENT[:500_000])
    ensure_jars(KAFKA, tmp_path, (jar,))
    assert (tmp_path / jar.file).read_bytes() == CONTENT
    assert maven.requests == [(f"/{jar.path}", "bytes=500000-")]


def test_a_wrong_checksum_is_refused(maven: Maven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.jars.ATTEMPTS", 2)
    jar = jar_of("one", CONTENT)
    maven.offer(jar, CONTENT[::-1])
    with pytest.raises(JarsError, match=r"SHA-256 is .* the lock file says .*; the file was refused"):
        ensure_jars(KAFKA, tmp_path, (jar,))
    assert not list(tmp_path.glob("*.jar*"))


def test_offline_says_what_where_and_how_to_go_on(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.jars.ATTEMPTS", 2)
    monkeypatch.setenv("BIOTWIN_MAVEN_URL", f"http://127.0.0.1:{free_port}")
    with pytest.raises(JarsError) as caught:
        ensure_jars(KAFKA, tmp_path, (jar_of("one", CONTENT),))
    text = str(caught.value)
    assert f"http://127.0.0.1:{free_port}/org/example/deep/one/1.0/one-1.0.jar" in text
    assert str(tmp_path) in text
    assert "BIOTWIN_MAVEN_URL" in text
    assert "--kafka" in text


def test_an_unknown_file_is_asked_for_once(maven: Maven, tmp_path: Path) -> None:
    with pytest.raises(JarsError, match="404"):
        ensure_jars(KAFKA, tmp_path, (jar_of("absent", CONTENT),))
    assert len(maven.requests) == 1


ENSURE = """
import sys
from pathlib import Path
import msgspec
from deploy.jars import KAFKA, Jar, ensure_jars
ensure_jars(KAFKA, Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=tuple[Jar, ...]))
"""


def test_two_processes_at_once_fetch_each_file_once(maven: Maven, tmp_path: Path) -> None:
    jars = tuple(jar_of(f"jar{number}", CONTENT) for number in range(6))
    for jar in jars:
        maven.offer(jar, CONTENT)
    command = [sys.executable, "-c", ENSURE, str(tmp_path), msgspec.json.encode(jars).decode()]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(maven.requests) == len(jars)
    assert all((tmp_path / jar.file).read_bytes() == CONTENT for jar in jars)


def test_a_full_cache_needs_no_network(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOTWIN_MAVEN_URL", f"http://127.0.0.1:{free_port}")
    jar = jar_of("one", CONTENT)
    (tmp_path / jar.file).write_bytes(CONTENT)
    assert ensure_jars(KAFKA, tmp_path, (jar,)) == tmp_path


def test_lock_file_names_kafka_and_its_clients() -> None:
    jars = {jar.artifact: jar for jar in locked_jars(KAFKA)}
    assert jars["kafka_2.13"].version == jars["kafka-clients"].version == "4.1.1"
    assert len({jar.file for jar in jars.values()}) == len(locked_jars(KAFKA))


def test_lock_file_of_the_validator_brings_the_definitions_of_r4_along() -> None:
    jars = {jar.artifact: jar for jar in locked_jars(FHIR_VALIDATOR)}
    assert {"hapi-fhir-validation-resources-r4", "hapi-fhir-structures-r4", "groovy"} <= set(jars)
    assert len({jar.file for jar in jars.values()}) == len(locked_jars(FHIR_VALIDATOR))
    assert sum(jar.size for jar in jars.values()) < 100_000_000
