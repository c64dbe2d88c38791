"""Java programs that we run: their jars, fetched once from Maven Central into the user's cache, each checked against
the program's `jars.lock`.

A broken download goes on where it stopped; several processes may ask at once: one fetches, the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deploy.errors import UserError

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
"""Where jars come from; BIOTWIN_MAVEN_URL names a mirror. What comes is checked, so the source need not be trusted."""

PARALLEL = 4
ATTEMPTS = 5
TIMEOUT_S = 20.0
CHUNK_BYTES = 1 << 18


class JarSet(NamedTuple):
    """The jars of one program. `package` holds its lock file; `otherwise` ends the sentence that says how to go on
    without a download."""

    title: str
    version: str
    package: str
    name: str
    otherwise: str


KAFKA = JarSet(
    "Apache Kafka", "4.1.1", "deploy.kafka", "kafka", "or use a Kafka that already runs with --kafka host:port."
)
FHIR_VALIDATOR = JarSet("HAPI FHIR validator", "8.8.0", "deploy.fhir", "fhir-validator", "or leave the check out.")


class JarsError(UserError):
    """The jars could not be had."""


class Jar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the lock file; `size` in bytes, `sha256` in hexadecimal."""

    group: str
    artifact: str
    version: str
    file: str
    size: int
    sha256: str

    @property
    def path(self) -> str:
        """Path in a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file}"


class _Lock(msgspec.Struct, forbid_unknown_fields=True):
    jar: list[Jar]


def locked_jars(program: JarSet) -> tuple[Jar, ...]:
    """The rows of the shipped lock file."""
    return tuple(msgspec.toml.decode((files(program.package) / "jars.lock").read_bytes(), type=_Lock).jar)


def cache_folder(program: JarSet) -> Path:
    """Where the jars are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "biotwin" / f"{program.name}-{program.version}"


def maven_url() -> str:
    """The Maven repository in use, without a slash at its end."""
    return os.environ.get("BIOTWIN_MAVEN_URL", MAVEN_CENTRAL).rstrip("/")


def missing_jars(folder: Path, jars: tuple[Jar, ...]) -> list[Jar]:
    """Jars that are not in the folder at their full size. Their content was checked when they came."""
    return [jar for jar in jars if not (folder / jar.file).is_file() or (folder / jar.file).stat().st_size != jar.size]


def ensure_jars(program: JarSet, folder: Path | None = None, jars: tuple[Jar, ...] | None = None) -> Path:
    """The folder that holds all jars, after fetching what is missing; raises `JarsError`."""
    folder = folder or cache_folder(program)
    jars = locked_jars(program) if jars is None else jars
    if not missing_jars(folder, jars):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        missing = missing_jars(folder, jars)
        if missing:
            _fetch_all(program, missing, folder)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_all(program: JarSet, missing: list[Jar], folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    total = sum(jar.size for jar in missing)
    console.print(f"{program.title} {program.version}: {len(missing)} files, {total / 1e6:.0f} MB, from {maven_url()}")
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("downloading", total=total)
        with ThreadPoolExecutor(PARALLEL) as pool:
            futures = [pool.submit(fetch, program, jar, folder, lambda n: progress.advance(task, n)) for jar in missing]
            try:
                for future in futures:
                    future.result()
            except JarsError:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def fetch(program: JarSet, jar: Jar, folder: Path, on_bytes: Callable[[int], object] = lambda _: None) -> Path:
    """One jar into the folder; `on_bytes` hears of each chunk's size. Raises `JarsError`."""
    target, part = folder / jar.file, folder / f"{jar.file}.part"
    url = f"{maven_url()}/{jar.path}"
    reason = ""
    on_bytes(part.stat().st_size if part.exists() else 0)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(0.25 * 2**attempt, 4.0))
        try:
            _continue(url, part, jar.size, on_bytes)
        except HTTPError as error:
            reason = f"{url} answered {error.code} {error.reason}"
            if error.code in {401, 403, 404}:
                break
            continue
        except (URLError, http.client.HTTPException, OSError) as error:
            reason = f"{url}: {getattr(error, 'reason', None) or error}"
            continue
        found = hashlib.sha256(part.read_bytes()).hexdigest()
        if found != jar.sha256:
            part.unlink()
            reason = f"{url}: SHA-256 is {found}, the lock file says {jar.sha256}; the file was refused"
            continue
        part.replace(target)
        return target
    raise JarsError(
        f"The jars of {program.title} could not be downloaded. {reason}\n"
        f"They are needed once, under {folder}; what has come so far is kept there.\n"
        "Go on: run the same command again when the network is there; or set BIOTWIN_MAVEN_URL to a Maven mirror; or\n"
        f"copy that folder from a machine that has it; {program.otherwise}"
    )


def _continue(url: str, part: Path, size: int, on_bytes: Callable[[int], object]) -> None:
    """Fetch what `part` lacks of `size` bytes."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - a Maven mirror may be file:
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        resumed = have > 0 and response.status == http.client.PARTIAL_CONTENT
        if have and not resumed:
            on_bytes(-have)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                on_bytes(len(chunk))
    got = part.stat().st_size
    if got < size:
        raise http.client.IncompleteRead(b"", size - got)
