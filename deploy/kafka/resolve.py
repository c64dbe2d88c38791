"""Write `jars.lock` anew: `python -m deploy.kafka.resolve`, with Maven installed. For maintainers, after a new version.

The closure is Kafka's own at scope `runtime`, and the binding that lets it log through log4j2.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

ROOTS = (
    ("org.apache.kafka", "kafka_2.13", "4.1.1"),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
)
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>biotwin</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>{}</dependencies></project>"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def resolve() -> str:
    """The text of `jars.lock`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pom = folder / "pom.xml"
        pom.write_text(_POM.format("".join(_DEPENDENCY.format(*root) for root in ROOTS)), encoding="utf-8")
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal, f"-DoutputDirectory={folder / 'jars'}"], check=True)
        entries = [_entry(path.relative_to(folder / "jars"), path) for path in (folder / "jars").rglob("*.jar")]
    return "# Written by `python -m deploy.kafka.resolve`.\n" + "".join(sorted(entries))


def _entry(relative: Path, path: Path) -> str:
    *group, artifact, version, file = relative.parts
    return (
        f'\n[[jar]]\ngroup = "{".".join(group)}"\nartifact = "{artifact}"\nversion = "{version}"\nfile = "{file}"\n'
        f'size = {path.stat().st_size}\nsha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
    )


if __name__ == "__main__":
    (Path(__file__).parent / "jars.lock").write_text(resolve(), encoding="utf-8")
