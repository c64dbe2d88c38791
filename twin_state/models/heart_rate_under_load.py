"""Heart rate under load: what a load does to it, what is this person's own and this session's, and where it will be.

    F_tau      <- F_tau + (1 - exp(-dt / tau)) (x - F_tau)            a bank of one-pole filters of the load
    m           = w2 . tanh(W1 z + b1) + b2 + w . z,  z = (F - centre) / scale           the population's response
    heart rate  = m + b + g (m - 120) / 20 + l + d + q                   b, g of the person; l, d, q of the session
    l, d, q    <- exp(-dt / tau) of themselves                           level, drift, quick: scales of what is left

First-order dynamics with gain (Hunt and Fankhauser, BioMed Eng OnLine 15, 2016), with several time constants as phases
and drift have (BioMed Eng OnLine 20, 2021; Cheng et al., IEEE TBME 55(3), 2008), and the saturation that linear banks
lack, by a network of one hidden layer on the bank. What the bank takes in: watts up to `MOST_WATTS`; the part of them
above `HARD_WATTS`; whether there is any; speed over ground. A second network serves where speed is not known.

b and g are learned by recursive least squares over months: a session, being alike in itself, counts as little more than
one observation. l, d and q by a Kalman filter on what b and g leave; they begin anew with each session. A heart rate is
taken in with a noise of so much for each second that it speaks for, so that the rate of readings changes little.

The present heart rate, or one to come with its load known, is a mean and a variance: a copy of the state to which only
loads are given goes on without heart rates. Abstains (NaN) where the newest load is older than `STALE_S`, and in the
first `LEAST_S` of a session without any heart rate it is only as sure as people differ.

Of healthy people on bicycles; the network knows one rider.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

LOAD_TAU_S = (10.0, 20.0, 40.0, 80.0, 160.0, 400.0, 900.0)
HARD_TAU_S = (30.0, 100.0, 300.0, 900.0)
IDLE_TAU_S = 60.0
SPEED_TAU_S = (60.0, 300.0)
FILTERS = len(LOAD_TAU_S) + len(HARD_TAU_S) + 1 + len(SPEED_TAU_S)
MOST_WATTS, HARD_WATTS, IDLE_WATTS = 900.0, 500.0, 10.0
START_TAU_S, LONGEST_SESSION_S = 300.0, 1800.0
"""Of what is peculiar to a session's beginning, and the age after which it grows no older (s)."""

INPUTS = FILTERS + 2
HIDDEN = 8
MOST_SCALES = 5.0
CENTRE = 0
SCALE = CENTRE + INPUTS
W1 = SCALE + INPUTS
B1 = W1 + INPUTS * HIDDEN
W2 = B1 + HIDDEN
B2 = W2 + HIDDEN
SKIP = B2 + 1
NETWORK = SKIP + INPUTS
PARAMETERS = 2 * NETWORK
"""Where each part of a network begins, and how many parameters there are: the network with speed, then that without."""

STALE_S = 10.0
LONGEST_STEP_S = 5.0
NEW_SESSION_S = 900.0
SLOWEST_BPM, FASTEST_BPM = 30.0, 230.0

CENTRE_BPM, SPAN_BPM = 120.0, 20.0
SD_OFFSET, SD_GAIN, SD_SESSION = 4.0, 3.0, 0.3
PERSON_NOISE = 36_000.0
"""Of the person: sd of b and g among people, and of their change from one session to the next (bpm); noise (bpm² s)."""
LEVEL_TAU_S, DRIFT_TAU_S, QUICK_TAU_S = 1500.0, 100.0, 20.0
SD_LEVEL, SD_DRIFT, SD_QUICK = 4.0, 3.0, 2.5
SESSION_NOISE = 50.0
"""Of the session: time constants (s) and sd (bpm) of its level, drift and quick part; noise (bpm² s)."""
MOST_SD = 3.0
"""An innovation larger than so many sd counts as one of that size: heart rates jump where a sensor slips."""

FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("speed_t", 1),
    ("heart_rate_t", 1),
    ("inputs", INPUTS),
    ("response", 1),
    ("person", 5),
    ("session", 9),
)
"""`inputs` are the filters, then the beginning of the session (1 to 0) and its age (share of the longest).
`person` is b, g and their covariance (bb, bg, gg); `session` is l, d, q and theirs (ll, ld, lq, dd, dq, qq)."""
T, SPEED_T, HEART_RATE_T, INPUT = range(4)
BEGINNING = INPUT + FILTERS
AGE = BEGINNING + 1
RESPONSE = AGE + 1
OFFSET, GAIN, BB, BG, GG = range(RESPONSE + 1, RESPONSE + 6)
LEVEL, DRIFT, QUICK, LL, LD, LQ, DD, DQ, QQ = range(GG + 1, GG + 10)
WIDTH = QQ + 1


@inlined
def _begin_session(f: Float, at: int) -> None:
    for n in range(FILTERS):
        f[at + INPUT + n] = 0.0
    f[at + BEGINNING], f[at + AGE] = 1.0, 0.0
    if f[at + T] == 0.0:
        f[at + BB], f[at + GG] = SD_OFFSET**2, SD_GAIN**2
    else:
        f[at + BB] = min(f[at + BB] + SD_SESSION**2, SD_OFFSET**2)
        f[at + GG] = min(f[at + GG] + SD_SESSION**2, SD_GAIN**2)
    f[at + SPEED_T] = f[at + HEART_RATE_T] = 0.0
    f[at + LEVEL] = f[at + DRIFT] = f[at + QUICK] = f[at + LD] = f[at + LQ] = f[at + DQ] = 0.0
    f[at + LL], f[at + DD], f[at + QQ] = SD_LEVEL**2, SD_DRIFT**2, SD_QUICK**2


@inlined
def _pass_residual(f: Float, at: int, dt: float) -> None:
    a, b, c = math.exp(-dt / LEVEL_TAU_S), math.exp(-dt / DRIFT_TAU_S), math.exp(-dt / QUICK_TAU_S)
    f[at + LEVEL] *= a
    f[at + DRIFT] *= b
    f[at + QUICK] *= c
    f[at + LL] = a * a * f[at + LL] + (1.0 - a * a) * SD_LEVEL**2
    f[at + DD] = b * b * f[at + DD] + (1.0 - b * b) * SD_DRIFT**2
    f[at + QQ] = c * c * f[at + QQ] + (1.0 - c * c) * SD_QUICK**2
    f[at + LD] *= a * b
    f[at + LQ] *= a * c
    f[at + DQ] *= b * c


@inlined
def _step(f: Float, column: int, x: float, tau_s: float, dt: float) -> None:
    f[column] += (1.0 - math.exp(-dt / tau_s)) * (x - f[column])


@inlined
def _pass_filters(f: Float, at: int, watts: float, speed: float, dt: float) -> None:
    b = at + INPUT
    load = min(watts, MOST_WATTS)
    hard = max(load - HARD_WATTS, 0.0)
    for n in range(len(LOAD_TAU_S)):
        _step(f, b + n, load, LOAD_TAU_S[n], dt)
    b += len(LOAD_TAU_S)
    for n in range(len(HARD_TAU_S)):
        _step(f, b + n, hard, HARD_TAU_S[n], dt)
    b += len(HARD_TAU_S)
    _step(f, b, 1.0 if watts < IDLE_WATTS else 0.0, IDLE_TAU_S, dt)
    b += 1
    if not math.isnan(speed):
        for n in range(len(SPEED_TAU_S)):
            _step(f, b + n, speed, SPEED_TAU_S[n], dt)


@inlined
def _scaled(f: Float, at: int, p: Float, first: int, n: int) -> float:
    z = (f[at + INPUT + n] - p[first + CENTRE + n]) / p[first + SCALE + n]
    return min(max(z, -MOST_SCALES), MOST_SCALES)  # type: ignore[no-any-return]


@inlined
def _response(f: Float, at: int, p: Float, first: int) -> float:
    """Of the population to the present bank, by the network whose parameters begin at `first` (bpm)."""
    y = p[first + B2]
    for n in range(INPUTS):
        y += p[first + SKIP + n] * _scaled(f, at, p, first, n)
    for h in range(HIDDEN):
        total = p[first + B1 + h]
        for n in range(INPUTS):
            total += p[first + W1 + n * HIDDEN + h] * _scaled(f, at, p, first, n)
        y += p[first + W2 + h] * math.tanh(total)
    return min(max(y, SLOWEST_BPM), FASTEST_BPM)  # type: ignore[no-any-return]


@compiled
def observe_load(f: Float, at: int, p: Float, watts: float, speed_km_per_h: float, t: float) -> None:
    """Take in the load at `t` (s): watts, and speed or NaN where it is not known. A time that is not later, or watts
    that are no number of at least 0, is ignored. In what a gap exceeds `LONGEST_STEP_S` there was no load; after one of
    `NEW_SESSION_S` a new session begins."""
    if not (t > f[at + T] and math.isfinite(t) and 0.0 <= watts < math.inf):
        return
    dt = t - f[at + T]
    if f[at + T] == 0.0 or dt > NEW_SESSION_S:
        _begin_session(f, at)
        dt = 1.0
    else:
        f[at + BEGINNING] *= math.exp(-dt / START_TAU_S)
        f[at + AGE] = min(f[at + AGE] + dt / LONGEST_SESSION_S, 1.0)
    f[at + T] = t
    known = 0.0 <= speed_km_per_h < 200.0
    if known:
        f[at + SPEED_T] = t
    _pass_residual(f, at, dt)
    if dt > LONGEST_STEP_S:
        _pass_filters(f, at, 0.0, 0.0, dt - LONGEST_STEP_S)
        dt = LONGEST_STEP_S
    _pass_filters(f, at, watts, speed_km_per_h if known else math.nan, dt)
    f[at + RESPONSE] = _response(f, at, p, 0 if t - f[at + SPEED_T] <= STALE_S else NETWORK)


@compiled
def observe_heart_rate(f: Float, at: int, heart_rate_bpm: float, t: float) -> None:
    """Learn from the heart rate at `t` (s), which must not be before the newest load. One without a load of the last
    `STALE_S`, implausible, or not later than the one before is ignored."""
    if not SLOWEST_BPM <= heart_rate_bpm <= FASTEST_BPM or f[at + T] == 0.0 or not 0.0 <= t - f[at + T] <= STALE_S:
        return
    since = min(t - f[at + HEART_RATE_T], STALE_S)
    if not since > 0.0:
        return
    f[at + HEART_RATE_T] = t
    g = (f[at + RESPONSE] - CENTRE_BPM) / SPAN_BPM
    own = heart_rate_bpm - f[at + RESPONSE] - f[at + OFFSET] - g * f[at + GAIN]
    _learn_session(f, at, own, SESSION_NOISE / since)
    _learn_person(f, at, own, g, PERSON_NOISE / since)


@inlined
def _clipped(error: float, variance: float) -> float:
    most = MOST_SD * math.sqrt(variance)
    return min(max(error, -most), most)


@inlined
def _learn_session(f: Float, at: int, own: float, noise: float) -> None:
    a = f[at + LL] + f[at + LD] + f[at + LQ]
    b = f[at + LD] + f[at + DD] + f[at + DQ]
    c = f[at + LQ] + f[at + DQ] + f[at + QQ]
    spread = a + b + c + noise
    error = _clipped(own - f[at + LEVEL] - f[at + DRIFT] - f[at + QUICK], spread)
    f[at + LEVEL] += a / spread * error
    f[at + DRIFT] += b / spread * error
    f[at + QUICK] += c / spread * error
    f[at + LL] -= a * a / spread
    f[at + LD] -= a * b / spread
    f[at + LQ] -= a * c / spread
    f[at + DD] -= b * b / spread
    f[at + DQ] -= b * c / spread
    f[at + QQ] -= c * c / spread


@inlined
def _learn_person(f: Float, at: int, own: float, g: float, noise: float) -> None:
    a = f[at + BB] + g * f[at + BG]
    b = f[at + BG] + g * f[at + GG]
    spread = a + g * b + noise
    usual = SD_LEVEL**2 + SD_DRIFT**2 + SD_QUICK**2 + a + g * b
    error = _clipped(own, usual)
    f[at + OFFSET] += a / spread * error
    f[at + GAIN] += b / spread * error
    f[at + BB] -= a * a / spread
    f[at + BG] -= a * b / spread
    f[at + GG] -= b * b / spread


@inlined
def heart_rate(f: Float, at: int, t: float) -> float:
    """Expected at `t` (s), bpm: of the newest load, whether or not a heart rate came with it. NaN where it abstains."""
    if f[at + T] == 0.0 or not 0.0 <= t - f[at + T] <= STALE_S:
        return math.nan
    g = (f[at + RESPONSE] - CENTRE_BPM) / SPAN_BPM
    of_person = f[at + OFFSET] + g * f[at + GAIN]
    return f[at + RESPONSE] + of_person + f[at + LEVEL] + f[at + DRIFT] + f[at + QUICK]  # type: ignore[no-any-return]


@inlined
def variance(f: Float, at: int, t: float) -> float:
    """Of `heart_rate` at `t`, bpm²; NaN where it abstains."""
    if f[at + T] == 0.0 or not 0.0 <= t - f[at + T] <= STALE_S:
        return math.nan
    g = (f[at + RESPONSE] - CENTRE_BPM) / SPAN_BPM
    of_person = f[at + BB] + 2.0 * g * f[at + BG] + g * g * f[at + GG]
    own = f[at + LL] + f[at + DD] + f[at + QQ] + 2.0 * (f[at + LD] + f[at + LQ] + f[at + DQ])
    return of_person + own  # type: ignore[no-any-return]
