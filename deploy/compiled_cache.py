"""Where numba keeps compiled kernels: a folder per version of the kernels' sources.

numba notices a change of the file a kernel stands in, but not of the kernels it calls; keyed by all sources of
`twin_state`, a stale kernel cannot be picked up.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path


def use_compiled_cache() -> Path:
    """Point numba at the cache folder; call before `twin_state` is first imported. Returns the folder."""
    spec = find_spec("twin_state")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("twin_state is not installed; run `make setup`")
    digest = blake2b(digest_size=8)
    for source in sorted(Path(spec.origin).parent.rglob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = base / "biotwin" / "kernels" / digest.hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    return folder
