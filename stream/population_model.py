"""One online model for the patients of a partition, by River: shipped parameters, corrected by the labels that come.

    log odds = a (shipped log odds) + sum b_j x'_j + c,  x' standardised as seen so far,  a = 1, b = c = 0 at first

What was shipped is the start; stochastic gradient descent on the logistic loss moves a, b and c with each label. Labels
come late: a prediction waits with its features, and a label finds it by person and event time. An ADWIN (Bifet and
Gavalda, SDM 2007) watches the error of the partition, and one each person who has labels; of those the least recently
labelled goes when there are too many. Memory is bounded whatever comes.

No Kafka here: whoever owns the partition keeps `snapshot()` with its checkpoint and gives it to `restored` afterwards.
"""

from __future__ import annotations

import math
import pickle
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of

import msgspec
from river import drift, linear_model, optim, preprocessing

SNAPSHOT_FORMAT = 1
RIVER = version_of("river")
LEARNING_RATE = 0.0005
CLIP_GRADIENT = 1.0
MOST_WAITING = 50_000
MOST_PEOPLE = 2_000
SHIPPED = "shipped_log_odds"


class SnapshotError(Exception):
    """A snapshot that this build cannot go on from; its text says what it is of. The shipped parameters still can."""


class Stamp(msgspec.Struct, frozen=True):
    """What a snapshot is of."""

    format: int
    river: str
    model: str
    version: int
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    log_odds: float
    x: dict[str, float]


class PopulationModel:
    """`model` and `version` are those of the shipped parameters, `features` the names that every call must bring.

    Counters: `learned` labels, `unmatched` labels without a prediction, `forgotten` predictions that no label reached
    in time, `drifts` of the partition's error, `forgotten_people` whose own watch was given up.
    """

    def __init__(
        self, model: str, version: int, features: Sequence[str], *, learning_rate: float = LEARNING_RATE
    ) -> None:
        self.stamp = Stamp(SNAPSHOT_FORMAT, RIVER, model, version, tuple(features))
        self.learned = self.unmatched = self.forgotten = self.drifts = self.forgotten_people = 0
        self._scaler = preprocessing.StandardScaler()
        self._regression = linear_model.LogisticRegression(
            optimizer=optim.SGD(learning_rate), intercept_lr=learning_rate, clip_gradient=CLIP_GRADIENT
        )
        # A sample of no weight teaches nothing, and gives the shipped log odds the weight that they begin with.
        self._regression.initializer = optim.initializers.Constant(1.0)
        self._regression.learn_one({SHIPPED: 0.0}, True, w=0.0)
        self._regression.initializer = optim.initializers.Zeros()
        self._error = drift.ADWIN()
        self._people: OrderedDict[str, drift.ADWIN] = OrderedDict()
        self._waiting: OrderedDict[tuple[str, float], _Waiting] = OrderedDict()
        self._times: dict[str, list[float]] = {}

    @property
    def waiting(self) -> int:
        """How many predictions wait for a label."""
        return len(self._waiting)

    @property
    def watched_people(self) -> int:
        """How many people have an ADWIN of their own."""
        return len(self._people)

    def predict(self, log_odds: float, x: Mapping[str, float]) -> float:
        """Probability by the shipped model's log odds and the features, of which NaN counts as usual. Learns nothing.

        Raises `ValueError` for features other than those named.
        """
        inputs = self._scaler.transform_one(self._finite(x))
        inputs[SHIPPED] = log_odds
        return float(self._regression.predict_proba_one(inputs)[True])

    def expect(self, person: str, t: float, log_odds: float, x: Mapping[str, float]) -> float:
        """`predict`, and keep what it rests on until its label comes. A second one at that time replaces the first."""
        probability = self.predict(log_odds, x)
        key = (person, t)
        if key not in self._waiting:
            insort(self._times.setdefault(person, []), t)
        self._waiting[key] = _Waiting(log_odds, self._finite(x))
        if len(self._waiting) > MOST_WAITING:
            self._drop(next(iter(self._waiting)))
            self.forgotten += 1
        return probability

    def label(self, person: str, t: float, y: bool, most_before_s: float) -> bool:
        """Learn from the label `y` of event time `t` (s): it belongs to the person's newest prediction at or before
        `t`, at most `most_before_s` before. False where there is none; a prediction learns from one label only."""
        times = self._times.get(person, [])
        place = bisect_right(times, t) - 1
        if place < 0 or t - times[place] > most_before_s:
            self.unmatched += 1
            return False
        key = (person, times[place])
        waiting = self._waiting[key]
        self._drop(key)
        self.learn(person, waiting.log_odds, waiting.x, y)
        return True

    def learn(self, person: str, log_odds: float, x: Mapping[str, float], y: bool) -> None:
        """Learn at once, where the label is there already."""
        finite = self._finite(x)
        error = abs(float(y) - self.predict(log_odds, finite))
        self._scaler.learn_one(finite)
        inputs = self._scaler.transform_one(finite)
        inputs[SHIPPED] = log_odds
        self._regression.learn_one(inputs, y)
        self.learned += 1
        self._error.update(error)
        self.drifts += self._error.drift_detected
        own = self._people.pop(person, None) or drift.ADWIN()
        own.update(error)
        self._people[person] = own
        if len(self._people) > MOST_PEOPLE:
            self._people.popitem(last=False)
            self.forgotten_people += 1

    def weights(self) -> dict[str, float]:
        """Of the shipped log odds and of the features, for explanation."""
        return {name: float(self._regression.weights.get(name, 0.0)) for name in (SHIPPED, *self.stamp.features)}

    def snapshot(self) -> bytes:
        """All of it, stamped. To be kept where only workers write: what is restored is trusted."""
        return msgspec.json.encode(self.stamp) + b"\n" + pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)

    def _finite(self, x: Mapping[str, float]) -> dict[str, float]:
        if tuple(x) != self.stamp.features:
            raise ValueError(f"features {', '.join(self.stamp.features)} are wanted, got {', '.join(x)}")
        means = self._scaler.means
        return {name: value if math.isfinite(value) else float(means[name]) for name, value in x.items()}

    def _drop(self, key: tuple[str, float]) -> None:
        del self._waiting[key]
        person, t = key
        times = self._times[person]
        times.pop(bisect_right(times, t) - 1)
        if not times:
            del self._times[person]


def restored(snapshot: bytes, model: str, version: int, features: Sequence[str]) -> PopulationModel:
    """The model that `snapshot` is of: the same predictions from here on, and the same learning.

    Raises `SnapshotError` for a snapshot of another format, River, model, version or features, before reading the rest.
    """
    head, _, body = snapshot.partition(b"\n")
    wanted = Stamp(SNAPSHOT_FORMAT, RIVER, model, version, tuple(features))
    try:
        found = msgspec.json.decode(head, type=Stamp)
    except msgspec.DecodeError as error:
        raise SnapshotError("this is no snapshot of a population model") from error
    if found != wanted:
        raise SnapshotError(f"the snapshot is of {found}, this build wants {wanted}")
    read: PopulationModel = pickle.loads(body)  # noqa: S301 - stamped, and written by workers alone
    return read
