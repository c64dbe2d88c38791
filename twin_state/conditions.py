"""Rules on channels: onset after a delay, hysteresis, clear, update; and what becomes of a provisional notice.

Each rule of a row is in one of five phases. Timers run on event time: they are advanced to a reading's time before the
reading is looked at, with the value held so far, and a held value counts only for `hold_s`: no rule opens or clears
across a gap in its own data.
"""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float, Int, Transitions
from twin_state.columns import (
    ANNOUNCED,
    ANNOUNCED_AS,
    ANNOUNCED_COUNT,
    ANNOUNCED_OPENED_BY,
    ANNOUNCED_RULE,
    ANNOUNCED_SEEN,
    DIRTY,
    Columns,
)
from twin_state.compiled import compiled, inlined
from twin_state.constants import Constants
from twin_state.models import devices, news2, patient, steady
from twin_state.models.latest import channel_fresh, channel_time, channel_value
from twin_state.pauses import ABSENT, CLEARING, PAUSED, PENDING, PRESENT, left_of, pause, resume

FOLD_SETTLED, FOLD_LIVE, FOLD_AGAIN, FOLD_SILENT, FOLD_TICK = range(5)
"""Why a row moves: a reading settles; a reading goes into the live row as it came; all of the buffer goes into the live
row once more because a reading came out of order; a live row is rebuilt after a restart, when everything has been said
already; or a tick lets a delay run out, which ends no breach, because the readings may only be on their way.

A tick tells, and changes nothing in the row: what it told stands among the notices, which a checkpoint has. So a live
row follows from readings and notices alone, and is the same after a restart as without one."""

FILLED = 15
"""Place in `Columns.counters` of the number of transitions written so far."""

AGAIN = 13
"""Place in `Columns.counters` of the number of notices raised while one buffer is folded again."""

MOST_AGAIN = 64
"""Most notices that folding a buffer again may raise; further ones wait for the settled row. A fixed number, so that
what is announced does not depend on how full the output happens to be."""


@compiled
def write(
    s: Columns,
    out: Transitions,
    row: int,
    rule: int,
    what: int,
    stage: int,
    t: float,
    onset_t: float,
    opened_by: int,
    announced_as: int,
    value: float,
    threshold: float,
    personal: int,
    record: int,
    f: Float,
    i: Int,
) -> None:
    """Add one transition; `apply` makes sure that there is room."""
    n = s.counters[FILLED]
    out.number[n, b.ROW] = row
    out.number[n, b.RULE] = rule
    out.number[n, b.WHAT] = what
    out.number[n, b.STAGE] = stage
    out.measure[n, b.T] = t
    out.measure[n, b.ONSET_T] = onset_t
    out.number[n, b.OPENED_BY] = opened_by
    out.number[n, b.ANNOUNCED_ID] = announced_as
    out.measure[n, b.VALUE] = value
    out.measure[n, b.THRESHOLD_VALUE] = threshold
    out.number[n, b.PERSONAL] = personal
    out.number[n, b.RECORD] = record
    for at in range(f.shape[0]):
        out.state[n, at] = f[at]
    for at in range(i.shape[0]):
        out.identities[n, at] = i[at]
    s.counters[FILLED] = n + 1


@compiled
def _drop_announced(s: Columns, row: int, at: int) -> None:
    last = s.row_number[row, ANNOUNCED_COUNT] - 1
    for n in range(at, last):
        s.announced[row, n, ANNOUNCED_RULE] = s.announced[row, n + 1, ANNOUNCED_RULE]
        s.announced[row, n, ANNOUNCED_OPENED_BY] = s.announced[row, n + 1, ANNOUNCED_OPENED_BY]
        s.announced[row, n, ANNOUNCED_AS] = s.announced[row, n + 1, ANNOUNCED_AS]
        s.announced_t[row, n] = s.announced_t[row, n + 1]
        s.announced[row, n, ANNOUNCED_SEEN] = s.announced[row, n + 1, ANNOUNCED_SEEN]
    s.row_number[row, ANNOUNCED_COUNT] = last


@inlined
def _find_announced(s: Columns, row: int, rule: int, opened_by: int) -> int:
    for n in range(s.row_number[row, ANNOUNCED_COUNT]):
        if s.announced[row, n, ANNOUNCED_RULE] == rule and s.announced[row, n, ANNOUNCED_OPENED_BY] == opened_by:
            return n
    return -1


@compiled
def _onset(
    s: Columns,
    out: Transitions,
    row: int,
    rule: int,
    t: float,
    opened_by: int,
    value: float,
    threshold: float,
    personal: int,
    record: int,
    f: Float,
    i: Int,
    fold: int,
) -> None:
    if fold == FOLD_SILENT:
        return
    at = _find_announced(s, row, rule, opened_by)
    if fold == FOLD_SETTLED:
        announced_as = 0
        if at >= 0:
            announced_as = s.announced[row, at, ANNOUNCED_AS]
            _drop_announced(s, row, at)
        write(
            s,
            out,
            row,
            rule,
            b.ONSET,
            b.SETTLED,
            t,
            t,
            opened_by,
            announced_as,
            value,
            threshold,
            personal,
            record,
            f,
            i,
        )
        return
    if at >= 0:
        s.announced[row, at, ANNOUNCED_SEEN] = 1
        if s.announced_t[row, at] != t:
            s.announced_t[row, at] = t
            s.row_number[row, DIRTY] = 1
        return
    if fold == FOLD_AGAIN:
        # Whether this is a new notice or an earlier one amended is known only once the whole buffer is folded.
        if s.counters[AGAIN] >= MOST_AGAIN:
            return
        s.counters[AGAIN] += 1
        write(s, out, row, rule, b.ONSET, b.PROVISIONAL, t, t, opened_by, 0, value, threshold, personal, record, f, i)
        return
    if s.row_number[row, ANNOUNCED_COUNT] < ANNOUNCED:
        _announce(s, row, rule, t, opened_by)
        write(s, out, row, rule, b.ONSET, b.PROVISIONAL, t, t, opened_by, 0, value, threshold, personal, record, f, i)


@compiled
def _announce(s: Columns, row: int, rule: int, t: float, opened_by: int) -> None:
    n = s.row_number[row, ANNOUNCED_COUNT]
    s.announced[row, n, ANNOUNCED_RULE] = rule
    s.announced[row, n, ANNOUNCED_OPENED_BY] = opened_by
    s.announced[row, n, ANNOUNCED_AS] = opened_by
    s.announced_t[row, n] = t
    s.announced[row, n, ANNOUNCED_SEEN] = 1
    s.row_number[row, ANNOUNCED_COUNT] = n + 1


@compiled
def reconcile(s: Columns, out: Transitions, row: int, first: int) -> None:
    """After a live row was folded again: each onset written since `first` either amends a notice whose reading no
    longer opens the condition, or is a new notice."""
    kept = first
    for n in range(first, s.counters[FILLED]):
        rule = out.number[n, b.RULE]
        amended = -1
        for at in range(s.row_number[row, ANNOUNCED_COUNT]):
            if s.announced[row, at, ANNOUNCED_RULE] == rule and s.announced[row, at, ANNOUNCED_SEEN] == 0:
                amended = at
                break
        if amended >= 0:
            s.announced[row, amended, ANNOUNCED_OPENED_BY] = out.number[n, b.OPENED_BY]
            s.announced_t[row, amended] = out.measure[n, b.T]
            s.announced[row, amended, ANNOUNCED_SEEN] = 1
            out.number[n, b.WHAT] = b.UPDATE
            out.number[n, b.ANNOUNCED_ID] = s.announced[row, amended, ANNOUNCED_AS]
        elif s.row_number[row, ANNOUNCED_COUNT] < ANNOUNCED:
            _announce(s, row, rule, out.measure[n, b.T], out.number[n, b.OPENED_BY])
        else:
            continue
        if kept != n:
            _move(out, n, kept)
        kept += 1
    s.counters[FILLED] = kept


@compiled
def _move(out: Transitions, source: int, target: int) -> None:
    for at in range(out.number.shape[1]):
        out.number[target, at] = out.number[source, at]
    for at in range(out.measure.shape[1]):
        out.measure[target, at] = out.measure[source, at]
    for at in range(out.state.shape[1]):
        out.state[target, at] = out.state[source, at]
    for at in range(out.identities.shape[1]):
        out.identities[target, at] = out.identities[source, at]


@compiled
def withdraw(k: Constants, s: Columns, out: Transitions, row: int, record: int, f: Float, i: Int) -> None:
    """Withdraw each provisional notice that the settled row has passed without opening its condition."""
    at = 0
    while at < s.row_number[row, ANNOUNCED_COUNT]:
        t = s.announced_t[row, at]
        rule = s.announced[row, at, ANNOUNCED_RULE]
        channel = k.rule_number[rule, c.CHANNEL]
        settled_t = f[k.models[c.PATIENT, c.BASE] + patient.T]
        if k.models[c.DEVICES, c.ENABLED] and channel == k.signals + c.DEVICES_SILENT:
            settled_t = max(settled_t, f[k.models[c.DEVICES, c.BASE] + devices.STATUS_T])
        if t > settled_t:
            at += 1
            continue
        announced_as = s.announced[row, at, ANNOUNCED_AS]
        _drop_announced(s, row, at)
        s.counters[b.WITHDRAWALS] += 1
        write(
            s,
            out,
            row,
            rule,
            b.WITHDRAWN,
            b.PROVISIONAL,
            t,
            t,
            announced_as,
            0,
            channel_value(k, f, channel),
            k.rule_value[rule, c.THRESHOLD],
            0,
            record,
            f,
            i,
        )


@inlined
def threshold_of(k: Constants, f: Float, rule: int, t: float) -> tuple[float, int]:
    """The limit in force and whose it is (1 = the patient's own); (nan, 0) where the rule needs a limit not set."""
    number = k.rule_number[rule, c.LIMIT]
    if number >= 0:
        personal = patient.limit(k, f, number, t)
        if personal > 0.0:
            return personal + k.rule_value[rule, c.LIMIT_OFFSET], 1
        if k.rule_number[rule, c.LIMIT_REQUIRED]:
            return float("nan"), 0
    return k.rule_value[rule, c.THRESHOLD], 0


@compiled
def _change(
    k: Constants,
    s: Columns,
    out: Transitions,
    row: int,
    rule: int,
    what: int,
    t: float,
    value: float,
    threshold: float,
    personal: int,
    record: int,
    f: Float,
    i: Int,
    fold: int,
) -> None:
    """Say that a standing condition was updated or cleared. Only the settled row does: the live row changes in silence,
    so that no notice is taken back on what may yet be out of order."""
    if fold != FOLD_SETTLED:
        return
    onset = f[k.models[c.RULES, c.BASE] + 2 * k.rules + rule]
    opened_by = i[k.models[c.RULES, c.IDENTITY_BASE] + rule]
    if threshold != threshold:  # noqa: PLR0124  nan: the personal limit is gone
        threshold = k.rule_value[rule, c.THRESHOLD]
    write(s, out, row, rule, what, b.SETTLED, t, onset, opened_by, 0, value, threshold, personal, record, f, i)


@inlined
def _held_until(k: Constants, f: Float, rule: int, channel: int) -> float:
    """Until when (s) the rule's value counts while a delay runs."""
    own = k.rule_value[rule, c.RULE_HOLD_S]
    hold = own if own > 0.0 else k.channel[channel, c.HOLD_S]
    return channel_time(k, f, channel) + hold  # type: ignore[no-any-return]


@inlined
def _for_clearing(k: Constants, f: Float, channel: int, value: float) -> float:
    """The value by which a standing condition may clear: of a score, that with the last points of what is no longer
    measured, so that a sensor that comes off does not look like recovery."""
    derived = channel - k.signals
    if derived == c.NEWS2_LOW:
        return max(value, f[k.models[c.NEWS2_MODEL, c.BASE] + news2.HELD_TOTAL])  # type: ignore[no-any-return]
    if derived == c.NEWS2_SINGLE:
        return max(value, f[k.models[c.NEWS2_MODEL, c.BASE] + news2.HELD_SINGLE])  # type: ignore[no-any-return]
    if derived == c.NEWS2_STEADY:
        return max(value, f[k.models[c.STEADY, c.BASE] + steady.HELD_TOTAL])  # type: ignore[no-any-return]
    if derived == c.DETERIORATION:
        return max(value, f[k.models[c.STEADY, c.BASE] + steady.HELD_DETERIORATION])  # type: ignore[no-any-return]
    return value


@inlined
def _due(k: Constants, f: Float, rule: int, t: float, value: float, held_until: float, fold: int) -> float:
    """When (s) a pending rule's onset is due with the value held so far: after its delay, or earlier where the area
    reaches `onset_area` before `t`. While a rule is pending its `worst` is the area so far and its `onset_t` up to when
    it is counted: it has neither yet."""
    phase_at = k.models[c.RULES, c.BASE]
    due = f[phase_at + k.rules + rule] + k.rule_value[rule, c.ONSET_S]
    wanted = k.rule_value[rule, c.ONSET_AREA]
    if wanted <= 0.0:
        return due  # type: ignore[no-any-return]
    counted, area = phase_at + 2 * k.rules + rule, phase_at + 3 * k.rules + rule
    begin, end = f[counted], min(t, held_until)
    threshold, _ = threshold_of(k, f, rule, t)
    excess = k.rule_value[rule, c.SENSE] * (value - threshold)
    if excess > 0.0:
        due = min(due, begin + (wanted - f[area]) / excess)
        if end > begin and fold != FOLD_TICK:
            f[area] += excess * (end - begin)
    if end > begin and fold != FOLD_TICK:
        f[counted] = end
    return due  # type: ignore[no-any-return]


@compiled
def advance(
    k: Constants, s: Columns, out: Transitions, row: int, f: Float, i: Int, t: float, only: int, record: int, fold: int
) -> None:
    """Run the row's timers up to `t` (s of event time) with the values held so far: of the rules on channel `only`, or
    of all (-1)."""
    phase_at = k.models[c.RULES, c.BASE]
    for rule in range(k.rules):
        phase = f[phase_at + rule]
        if phase != PENDING and (phase != CLEARING or fold == FOLD_TICK):
            continue
        channel = k.rule_number[rule, c.CHANNEL]
        if only >= 0 and channel != only:
            continue
        held_until = _held_until(k, f, rule, channel)
        if phase == PENDING:
            due = _due(k, f, rule, t, channel_value(k, f, channel), held_until, fold)
        else:
            due = f[phase_at + k.rules + rule] + k.rule_value[rule, c.CLEAR_S]
        if due <= t and due <= held_until:
            threshold, personal = threshold_of(k, f, rule, due)
            value = channel_value(k, f, channel)
            opened_by = i[k.models[c.RULES, c.IDENTITY_BASE] + rule]
            if phase == PENDING:
                if fold != FOLD_TICK:
                    f[phase_at + rule] = PRESENT
                    f[phase_at + 2 * k.rules + rule] = due
                    f[phase_at + 3 * k.rules + rule] = value
                _onset(s, out, row, rule, due, opened_by, value, threshold, personal, record, f, i, fold)
            else:
                f[phase_at + rule] = ABSENT
                _change(k, s, out, row, rule, b.CLEAR, due, value, threshold, personal, record, f, i, fold)
        elif t > held_until and fold != FOLD_TICK:
            if phase == PENDING:
                pause(k, f, rule, held_until)
            else:
                f[phase_at + rule] = PRESENT


@compiled
def evaluate(
    k: Constants,
    s: Columns,
    out: Transitions,
    row: int,
    f: Float,
    i: Int,
    t: float,
    reading: int,
    only: int,
    record: int,
    fold: int,
) -> None:
    """Look at the rules on channel `only`, or at every rule (-1), as of `t` (s), after a reading, command or status was
    folded in."""
    phase_at = k.models[c.RULES, c.BASE]
    session = patient.in_session(k, f)
    discharged = f[k.models[c.PATIENT, c.BASE] + patient.ADMISSION] == patient.DISCHARGED
    scored = not k.models[c.NEWS2_MODEL, c.ENABLED] or f[k.models[c.NEWS2_MODEL, c.BASE] + 1] == news2.APPLICABLE
    for rule in range(k.rules):
        channel = k.rule_number[rule, c.CHANNEL]
        if rule == k.silence_rule or channel < 0 or (only >= 0 and channel != only):
            continue
        phase = f[phase_at + rule]
        threshold, personal = threshold_of(k, f, rule, t)
        idle = discharged or threshold != threshold  # noqa: PLR0124  nan: the limit it needs is not set
        derived = channel - k.signals
        idle = idle or (not scored and (c.NEWS2_LOW <= derived <= c.NEWS2_SINGLE or derived == c.NEWS2_STEADY))
        when = k.rule_number[rule, c.WHEN]
        idle = idle or (when == c.REST and session) or (when == c.IN_SESSION and not session)
        value = channel_value(k, f, channel)
        fresh = channel_fresh(k, f, channel, t)
        if idle or (phase >= PRESENT and not fresh and k.channel[channel, c.ENDS]):
            if phase >= PRESENT:
                _change(k, s, out, row, rule, b.CLEAR, t, value, threshold, personal, record, f, i, fold)
            f[phase_at + rule] = ABSENT
            continue
        if not fresh:
            if phase == PENDING:
                pause(k, f, rule, _held_until(k, f, rule, channel))
            continue
        sense = k.rule_value[rule, c.SENSE]
        excess = sense * (value - threshold)
        if phase == PAUSED:
            left = left_of(k, f, rule, t)
            if left <= 0.0:
                phase = ABSENT
                f[phase_at + rule] = ABSENT
            else:
                if excess >= 0.0:
                    resume(k, f, rule, t, left)
                continue
        if phase == ABSENT:
            if excess >= 0.0:
                f[phase_at + k.rules + rule] = t
                i[k.models[c.RULES, c.IDENTITY_BASE] + rule] = reading
                if k.rule_value[rule, c.ONSET_S] <= 0.0:
                    f[phase_at + rule] = PRESENT
                    f[phase_at + 2 * k.rules + rule] = t
                    f[phase_at + 3 * k.rules + rule] = value
                    _onset(s, out, row, rule, t, reading, value, threshold, personal, record, f, i, fold)
                else:
                    f[phase_at + rule] = PENDING
                    f[phase_at + 2 * k.rules + rule] = t
                    f[phase_at + 3 * k.rules + rule] = 0.0
            continue
        if phase == PENDING:
            if excess < 0.0:
                pause(k, f, rule, t)
            continue
        hysteresis = k.rule_value[rule, c.HYSTERESIS]
        if sense > 0.0:
            excess = _for_clearing(k, f, channel, value) - threshold
        beyond = excess < 0.0 if hysteresis == 0.0 else excess <= -hysteresis
        if phase == CLEARING:
            if not beyond:
                f[phase_at + rule] = PRESENT
        elif beyond:
            if k.rule_value[rule, c.CLEAR_S] <= 0.0:
                f[phase_at + rule] = ABSENT
                _change(k, s, out, row, rule, b.CLEAR, t, value, threshold, personal, record, f, i, fold)
            else:
                f[phase_at + rule] = CLEARING
                f[phase_at + k.rules + rule] = t
        elif k.rule_value[rule, c.UPDATE_STEP] > 0.0:
            worst = f[phase_at + 3 * k.rules + rule]
            if channel == k.signals + c.DEVICES_SILENT and value < worst:
                # The next device that falls silent is another one, and is told.
                worst = value
                f[phase_at + 3 * k.rules + rule] = value
            if sense * (value - worst) >= k.rule_value[rule, c.UPDATE_STEP]:
                f[phase_at + 3 * k.rules + rule] = value
                _change(k, s, out, row, rule, b.UPDATE, t, value, threshold, personal, record, f, i, fold)
