"""Task `hr-load`: rides at one reading a second with power, speed and heart rate, as in R's FREG.

The folder holds one or more `.npz`, a file a person, with arrays (sessions, seconds) in the order in which they were
ridden: `SECS` (s), `HR` (bpm, 0 where the sensor slipped), `WATTS` (W), `KPH` (km/h, hundredths), `CAD` (per min).

Open loop: the heart rate of a whole session from its load alone; none of its heart rates is seen before its end, and
what is learned is of the sessions before. Ahead: `AHEAD_S` ahead from all heart rates up to now, with the load until
then known. Both are the live model: a copy of the state goes on with loads alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.regression import fit_regression
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.compiled import compiled
from twin_state.models import heart_rate_under_load as model

TASK = "hr-load"
AHEAD_S = 60.0
BETWEEN_S = 86_400.0
"""From the beginning of a session to that of the next: how long it truly was is not told."""
HALF_WIDTH = 1.645
"""Standard deviations on each side of a 90 % interval."""
LEAST_BPM = 40.0
TOLD_EVERY = 10
"""Of the seconds every so many-th stands among the predictions."""
FOLDS = 5
DECAY, KNEE_BPM, EVERY_S = 3e-3, 3.0, 15
"""Of the fit: weight of the squared weights, knee of the loss, and every so many-th second is an example."""
SPEED_INPUTS = range(model.FILTERS - len(model.SPEED_TAU_S), model.FILTERS)
PLAIN_TAU_S = (20.0, 60.0, 300.0)
PLAIN_FORGETTING = 0.97
"""Of the plain baseline: least squares on six columns, forgetting by the session (Ljung, System Identification)."""


class Session(NamedTuple):
    """One session, all arrays (seconds,): time from its beginning (s), load, and heart rate (bpm, NaN where none)."""

    t: Array
    watts: Array
    speed_km_per_h: Array
    cadence_per_min: Array
    heart_rate_bpm: Array


class Judged(NamedTuple):
    """What was said of one session beforehand: means and variances, NaN where nothing; and the plain baseline."""

    session: Session
    open_loop: Array
    open_loop_variance: Array
    ahead: Array
    ahead_variance: Array
    plain: Array
    plain_ahead: Array


@compiled
def _run(
    f: Array,
    copies: Array,
    p: Array,
    t: Array,
    watts: Array,
    speed: Array,
    heart_rate: Array,
    ahead_s: float,
    out: Array,
    x: Array,
) -> None:
    """Into `out` (4, seconds): mean and variance in open loop, then ahead. Into `x`: what the networks take in.
    `copies` are two of the state."""
    alone, rolled = copies[0], copies[1]
    for n in range(len(t)):
        model.observe_load(alone, 0, p, watts[n], speed[n], t[n])
        out[0, n] = model.heart_rate(alone, 0, t[n])
        out[1, n] = model.variance(alone, 0, t[n])
        for j in range(model.INPUTS):
            x[n, j] = alone[model.INPUT + j]
    for n in range(len(t)):
        model.observe_load(f, 0, p, watts[n], speed[n], t[n])
        model.observe_heart_rate(f, 0, heart_rate[n], t[n])
        for j in range(model.WIDTH):
            rolled[j] = f[j]
        m = n + 1
        while m < len(t) and t[m] <= t[n] + ahead_s:
            model.observe_load(rolled, 0, p, watts[m], speed[m], t[m])
            if t[m] == t[n] + ahead_s:
                out[2, m] = model.heart_rate(rolled, 0, t[m])
                out[3, m] = model.variance(rolled, 0, t[m])
            m += 1


def run_model(f: Array, parameters: Array, session: Session, begun_s: float, ahead_s: float) -> tuple[Array, Array]:
    """Run the live model over a session that begins at `begun_s`; `f` is changed. Returns what `_run` writes."""
    out = np.full((4, len(session.t)), np.nan)
    x = np.zeros((len(session.t), model.INPUTS))
    load = session.watts, session.speed_km_per_h
    _run(f, np.stack([f, f]), parameters, begun_s + session.t, *load, session.heart_rate_bpm, ahead_s, out, x)
    return out, x


def read(data: Path) -> dict[str, list[Session]]:
    """The sessions of each person, in order. Raises ValueError for another layout."""
    people = {}
    for path in sorted(data.glob("*.npz")):
        with np.load(path) as arrays:
            missing = {"SECS", "HR", "WATTS", "KPH", "CAD"} - set(arrays)
            if missing:
                raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
            found = [arrays[name].astype(np.float64) for name in ("SECS", "WATTS", "KPH", "CAD", "HR")]
        if found[0].ndim != 2 or len({one.shape for one in found}) != 1:
            raise ValueError(f"{path}: arrays are not (sessions, seconds), all alike")
        seconds, watts, speed, cadence, heart_rate = found
        people[path.stem] = [
            Session(t - t[0], w, v / 100.0, c, np.where(y >= LEAST_BPM, y, np.nan))
            for t, w, v, c, y in zip(seconds, watts, speed, cadence, heart_rate, strict=True)
        ]
    if not people:
        raise ValueError(f"{data}: there is no .npz of sessions")
    return people


def judged(sessions: Sequence[Session], parameters: Array) -> list[Judged]:
    """Predict each session, then learn it, in order."""
    f = np.zeros(model.WIDTH)
    told = []
    for number, (session, plain) in enumerate(zip(sessions, _plain(sessions), strict=True)):
        out, _ = run_model(f, parameters, session, 1.0 + number * BETWEEN_S, AHEAD_S)
        told.append(Judged(session, out[0], out[1], out[2], out[3], plain, _plain_ahead(session, plain)))
    return told


def _plain(sessions: Sequence[Session]) -> Iterator[Array]:
    """The plain baseline in open loop: watts at three time constants, pedalling, and age of the session, by least
    squares on the sessions before. NaN for the first."""
    squares, products = 1e-3 * np.eye(6), np.zeros(6)
    for number, session in enumerate(sessions):
        filtered = np.zeros((len(session.t), 3))
        now = np.zeros(3)
        gains = 1.0 - np.exp(-1.0 / np.array(PLAIN_TAU_S))
        for n, watts in enumerate(session.watts):
            now += gains * (watts - now)
            filtered[n] = now / 100.0
        rest = (np.ones(len(session.t)), session.cadence_per_min > 30.0, session.t / model.LONGEST_SESSION_S)
        x = np.column_stack([*rest, filtered])
        yield x @ np.linalg.solve(squares, products) if number else np.full(len(x), np.nan)
        known = ~np.isnan(session.heart_rate_bpm)
        squares = PLAIN_FORGETTING * squares + x[known].T @ x[known]
        products = PLAIN_FORGETTING * products + x[known].T @ session.heart_rate_bpm[known]


def _plain_ahead(session: Session, plain: Array) -> Array:
    """The same with what it is wrong by now added in whole: ahead."""
    error = session.heart_rate_bpm - plain
    past = np.searchsorted(session.t, session.t - AHEAD_S)
    known = (past < np.arange(len(past))) & (session.t - session.t[past] == AHEAD_S)
    return np.where(known, plain + error[past], np.nan)


def _mean_error(session: Session, said: Array) -> float:
    """bpm; NaN where nothing was said at a second that has a heart rate."""
    error = np.abs(said - session.heart_rate_bpm)
    error = error[~np.isnan(error)]
    return float(np.mean(error)) if len(error) else float("nan")


def _covered(one: Judged) -> float:
    """Share of the session's heart rates in their 90 % intervals, half of it open loop, half ahead."""
    shares = []
    for said, variance in ((one.open_loop, one.open_loop_variance), (one.ahead, one.ahead_variance)):
        known = ~np.isnan(said) & ~np.isnan(one.session.heart_rate_bpm)
        error = np.abs(said - one.session.heart_rate_bpm)[known]
        shares.append(float(np.mean(error <= HALF_WIDTH * np.sqrt(variance[known]))) if len(error) else float("nan"))
    return float(np.nanmean(shares))


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("heart_rate_under_load").flat)
    return measured({person: judged(sessions, parameters) for person, sessions in read(data).items()}, seed)


def measured(people: dict[str, list[Judged]], seed: int) -> Evaluation:
    """The measures over people whose sessions were judged."""
    units = [[one] for told in people.values() for one in told] if len(people) == 1 else list(people.values())

    def median(measure: Any) -> Any:
        values = {id(one): measure(one) for told in people.values() for one in told}

        def statistic(some: Sequence[Sequence[Judged]]) -> float:
            found = [values[id(one)] for told in some for one in told]
            known = [value for value in found if not np.isnan(value)]
            return float(np.median(known)) if known else float("nan")

        return statistic

    def mean(some: Sequence[Sequence[Judged]]) -> float:
        return float(np.nanmean([covered[id(one)] for told in some for one in told]))

    covered = {id(one): _covered(one) for told in people.values() for one in told}
    everything = [one for told in people.values() for one in told]
    hold = np.nanmedian([_mean_error(one.session, _held(one.session)) for one in everything])
    parts = [np.nanmean([_inside(one, said) for one in everything]) for said in ("open_loop", "ahead")]
    return Evaluation(
        task=TASK,
        people=len(people),
        unit="session" if len(people) == 1 else "person",
        measures={
            "open_loop_mae_bpm": bootstrapped(
                units,
                median(lambda one: _mean_error(one.session, one.open_loop)),
                seed,
                median(lambda one: _mean_error(one.session, one.plain)),
            ),
            "ahead_60s_mae_bpm": bootstrapped(
                units,
                median(lambda one: _mean_error(one.session, one.ahead)),
                seed,
                median(lambda one: _mean_error(one.session, one.plain_ahead)),
            ),
            "coverage_90": bootstrapped(units, mean, seed),
        },
        predictions=[row for person, told in people.items() for row in _rows(person, told)],
        notes=(
            f"{len(everything)} sessions; both errors are medians over sessions of the mean over seconds",
            "open loop: the load of the session alone; none of its heart rates is seen",
            f"of the 90 % intervals in open loop {parts[0]:.3f} hold the heart rate, of those ahead {parts[1]:.3f}",
            f"the heart rate held for {AHEAD_S:.0f} s is off by {hold:.1f} bpm",
            "the plain baseline is least squares on six columns of the sessions before; none for a person's first",
            f"every {TOLD_EVERY}th second is among the predictions, sessions a day after each other",
        ),
    )


def _inside(one: Judged, said: str) -> float:
    prediction, variance = getattr(one, said), getattr(one, f"{said}_variance")
    known = ~np.isnan(prediction) & ~np.isnan(one.session.heart_rate_bpm)
    error = np.abs(prediction - one.session.heart_rate_bpm)[known]
    return float(np.mean(error <= HALF_WIDTH * np.sqrt(variance[known]))) if len(error) else float("nan")


def _held(session: Session) -> Array:
    return _plain_ahead(session, np.zeros(len(session.t)))


def _rows(person: str, told: Sequence[Judged]) -> Iterator[Prediction]:
    for number, one in enumerate(told):
        for measure, said, variance in (
            ("open_loop_mae_bpm", one.open_loop, one.open_loop_variance),
            ("ahead_60s_mae_bpm", one.ahead, one.ahead_variance),
        ):
            known = ~np.isnan(said) & ~np.isnan(one.session.heart_rate_bpm)
            for n in np.flatnonzero(known):
                if n % TOLD_EVERY:
                    continue
                half = HALF_WIDTH * float(np.sqrt(variance[n]))
                yield Prediction(
                    person=person,
                    t=number * BETWEEN_S + float(one.session.t[n]),
                    prediction=float(said[n]),
                    low=float(said[n]) - half,
                    high=float(said[n]) + half,
                    label=float(one.session.heart_rate_bpm[n]),
                    measure=measure,
                )


def fitted(people: Sequence[Sequence[Session]], seed: int) -> dict[str, list[float]]:
    """The two networks, from all sessions alike."""
    rows, labels = [], []
    for sessions in people:
        for session in sessions:
            _, x = run_model(np.zeros(model.WIDTH), np.ones(model.PARAMETERS), session, 1.0, 0.0)
            chosen = np.flatnonzero(~np.isnan(session.heart_rate_bpm) & (np.arange(len(x)) % EVERY_S == 0))
            rows.append(x[chosen])
            labels.append(session.heart_rate_bpm[chosen])
    x, y = np.concatenate(rows), np.concatenate(labels)
    without = [n for n in range(model.INPUTS) if n not in SPEED_INPUTS]
    return {
        "with_speed": _rounded(fit_regression(x, y, model.HIDDEN, DECAY, KNEE_BPM, seed)),
        "without_speed": _rounded(
            padded(fit_regression(x[:, without], y, model.HIDDEN, DECAY, KNEE_BPM, seed), without)
        ),
    }


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def padded(network: Array, inputs: Sequence[int]) -> Array:
    """A network of some of the inputs as the kernel takes it: the others do nothing."""
    count = len(inputs)
    chosen = np.array(inputs)
    edges = np.cumsum([count, count, count * model.HIDDEN, model.HIDDEN, model.HIDDEN, 1])
    centre, scale, w1, b1, w2, b2, skip = np.split(network, edges)
    whole = np.zeros(model.NETWORK)
    whole[model.SCALE : model.W1] = 1.0
    whole[model.CENTRE + chosen] = centre
    whole[model.SCALE + chosen] = scale
    rows = np.zeros((model.INPUTS, model.HIDDEN))
    rows[chosen] = w1.reshape(count, model.HIDDEN)
    whole[model.W1 : model.B1] = rows.ravel()
    whole[model.B1 : model.W2] = b1
    whole[model.W2 : model.B2] = w2
    whole[model.B2] = b2[0]
    whole[model.SKIP + chosen] = skip
    return whole


def fit(data: Path, seed: int) -> dict[str, Any]:
    """See `loadtest.evaluation.tasks.fit`."""
    people = read(data)
    sessions = sum(map(len, people.values()))
    return {
        "model": "heart_rate_under_load",
        "version": 1,
        "fitted_on": f"rides of the R package FREG, about one rider, {sessions} development sessions of half an hour",
        "values": fitted(list(people.values()), seed),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each block of successive sessions foretold by networks that were fitted on the other blocks alone; what is
    learned of the person is of the sessions before it."""
    told: dict[str, list[Judged]] = {}
    for person, sessions in read(data).items():
        told[person] = []
        for block in np.array_split(np.arange(len(sessions)), FOLDS):
            values = fitted([[one for n, one in enumerate(sessions) if n not in block]], seed)
            flat = np.array([value for part in values.values() for value in part])
            told[person] += judged(sessions[: block[-1] + 1], flat)[block[0] :]
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """The sessions of small, median and large error in open loop: heart rate, said of it before, and ahead."""
    sessions: dict[tuple[str, float], list[Prediction]] = {}
    for one in evaluation.predictions:
        sessions.setdefault((one.person, one.t // BETWEEN_S), []).append(one)

    def error(key: tuple[str, float]) -> float:
        own = [one for one in sessions[key] if one.measure == "open_loop_mae_bpm"]
        return float(np.mean([abs(one.prediction - one.label) for one in own]))

    ordered = sorted((key for key, own in sessions.items() if own), key=error)
    shares = {"10 % of sessions are better": 0.1, "median": 0.5, "10 % of sessions are worse": 0.9}
    title = "Heart rate foretold from load: before the session (blue, 90 % interval), and a minute ahead (red)"
    drawing, axes = figure(len(shares), height_in=3.0, title=title)
    for axis, (words, share) in zip(axes, shares.items(), strict=True):
        key = ordered[min(round(share * (len(ordered) - 1)), len(ordered) - 1)]
        before = [one for one in sessions[key] if one.measure == "open_loop_mae_bpm"]
        ahead = [one for one in sessions[key] if one.measure == "ahead_60s_mae_bpm"]
        minutes = np.array([one.t % BETWEEN_S for one in before]) / 60.0
        low, high = [one.low for one in before], [one.high for one in before]
        axis.fill_between(minutes, low, high, color="#cfe0ec", linewidth=0)
        axis.plot(minutes, [one.prediction for one in before], color="#0b5d8a", label="before the session")
        axis.plot(
            [one.t % BETWEEN_S / 60.0 for one in ahead],
            [one.prediction for one in ahead],
            color="#c2452d",
            linewidth=1.0,
            label="a minute ahead",
        )
        axis.plot(minutes, [one.label for one in before], color="#1c1c1c", linewidth=1.0, label="measured")
        axis.set_title(f"{words}: off by {error(key):.1f} bpm before the session", fontsize=10, loc="left")
        axis.set_ylabel("beats per minute")
    axes[0].legend(loc="upper left", ncols=3, fontsize=8)
    axes[-1].set_xlabel("minutes")
    save(drawing, picture)
