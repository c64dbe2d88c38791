"""Population parameters of the models, one small versioned file each, made by `biotwin fit TASK --data DIR`."""

from __future__ import annotations

from importlib.resources import files

import msgspec


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shipped file."""

    model: str
    version: int
    """Raised with each fit that is shipped. Evidence carries the models' hash, which the values are part of."""
    fitted_on: str
    """The recordings, how many people and how they were chosen, in a sentence."""
    values: dict[str, list[float]]

    @property
    def flat(self) -> list[float]:
        """As the model's kernels take them: one list after another, in the file's order."""
        return [float(value) for values in self.values.values() for value in values]


def shipped_parameters(model: str) -> Parameters:
    """The file of `model` (its name without `.json`). Raises FileNotFoundError where there is none."""
    return msgspec.json.decode((files("contracts.parameters") / f"{model}.json").read_bytes(), type=Parameters)
