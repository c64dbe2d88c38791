"""Write each `jars.lock` anew: `python -m deploy.resolve_jars`, with Maven installed. For a new version.

The closure is the programs' own at scope `runtime`, with the binding that lets Kafka log through log4j2, and without
what the validator reaches only for tasks that it is not given (diagrams, SPARQL, terminology servers, older FHIR).
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from deploy.jars import FHIR_VALIDATOR, KAFKA, JarSet

HAPI = "ca.uhn.hapi.fhir"


class Closure(NamedTuple):
    """What a program starts from, as group:artifact:version, and what is left out of its closure, as group:artifact."""

    program: JarSet
    roots: tuple[str, ...]
    left_out: tuple[str, ...] = ()


CLOSURES = (
    Closure(
        KAFKA,
        (f"org.apache.kafka:kafka_2.13:{KAFKA.version}", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"),
    ),
    Closure(
        FHIR_VALIDATOR,
        (
            *(
                f"{HAPI}:{artifact}:{FHIR_VALIDATOR.version}"
                for artifact in (
                    "hapi-fhir-validation",
                    "hapi-fhir-structures-r4",
                    "hapi-fhir-validation-resources-r4",
                    "hapi-fhir-caching-caffeine",
                )
            ),
            "org.apache.groovy:groovy:5.0.8",
        ),
        (
            *(f"{HAPI}:org.hl7.fhir.{version}" for version in ("dstu2", "dstu2016may", "r4b")),
            *("com.google.protobuf:protobuf-java", "net.sf.saxon:Saxon-HE", "net.sourceforge.plantuml:plantuml-mit"),
            *("org.apache.jena:jena-arq", "org.apache.jena:jena-core", "org.apache.jena:jena-shex"),
            *("org.apache.santuario:xmlsec", "org.apache.thrift:libthrift", "org.xerial:sqlite-jdbc"),
        ),
    ),
)
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>biotwin</groupId><artifactId>jars</artifactId><version>1</version><dependencies>{}</dependencies></project>"""
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"
    "<exclusions>{}</exclusions></dependency>"
)
_EXCLUSION = "<exclusion><groupId>{}</groupId><artifactId>{}</artifactId></exclusion>"


def resolve(closure: Closure) -> str:
    """The text of the program's `jars.lock`."""
    exclusions = "".join(_EXCLUSION.format(*name.split(":")) for name in closure.left_out)
    dependencies = "".join(_DEPENDENCY.format(*root.split(":"), exclusions) for root in closure.roots)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pom = folder / "pom.xml"
        pom.write_text(_POM.format(dependencies), encoding="utf-8")
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal, f"-DoutputDirectory={folder / 'jars'}"], check=True)
        entries = [_entry(path.relative_to(folder / "jars"), path) for path in (folder / "jars").rglob("*.jar")]
    return "# Written by `python -m deploy.resolve_jars`.\n" + "".join(sorted(entries))


def _entry(relative: Path, path: Path) -> str:
    *group, artifact, version, file = relative.parts
    return (
        f'\n[[jar]]\ngroup = "{".".join(group)}"\nartifact = "{artifact}"\nversion = "{version}"\nfile = "{file}"\n'
        f'size = {path.stat().st_size}\nsha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
    )


if __name__ == "__main__":
    for one in CLOSURES:
        folder = Path(__file__).parents[1].joinpath(*one.program.package.split("."))
        (folder / "jars.lock").write_text(resolve(one), encoding="utf-8")
