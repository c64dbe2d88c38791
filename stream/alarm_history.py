"""What figures about alarms need of history: the journal of alerts' signals, and how long patients were monitored."""

from __future__ import annotations

from pathlib import Path

import msgspec

from alerts.quality.alarms import Alarm, alarms_of
from alerts.quality.figures import MONITORED_GAP_S
from contracts.alert_signal import SignalTransition
from contracts.topics import ALERTS, JOURNAL, TELEMETRY
from stream.history_reader import query_history, read_history

LOOK_BACK_S = 30 * 86_400.0
"""How long before a time span the journal is read, so that what has stood since is known."""

DAY_S = 86_400.0


def alarms_in(directory: str | Path, since: float, patient: str | None = None) -> list[Alarm]:
    """The alarms announced from `LOOK_BACK_S` before `since` on, with all that is known of them by now."""
    decoder = msgspec.json.Decoder(SignalTransition)
    rows = read_history(directory, JOURNAL, patient, since=since - LOOK_BACK_S)
    return alarms_of(decoder.decode(value) for value in rows["value"].to_pylist())


def lacks_journal(directory: str | Path, since: float, until: float) -> bool:
    """Whether history has interruptive alerts of [since, until), and no record of what became of their signals."""
    query = "SELECT count(*) FROM history WHERE t >= $since AND t < $until"
    urgent = f"{query} AND priority IN ('high', 'medium') AND state = 'active'"
    span = {"since": since, "until": until}
    ((alerts,),) = query_history(directory, ALERTS, urgent, span) or [(0,)]
    ((signals,),) = query_history(directory, JOURNAL, query, span) or [(0,)]
    return bool(alerts) and not signals


def monitored_days(directory: str | Path, since: float, until: float) -> dict[str, float]:
    """Days for which each patient was monitored in [since, until), by pseudonym; those never monitored are left out."""
    rows = query_history(
        directory,
        TELEMETRY,
        "SELECT key, sum(least(span, $gap)) FROM ("
        "SELECT key, coalesce(lead(t) OVER (PARTITION BY key ORDER BY t), $until) - t AS span FROM history"
        " WHERE kind = 'reading' AND key IS NOT NULL AND t >= $since AND t < $until"
        ") GROUP BY key ORDER BY key",
        {"gap": MONITORED_GAP_S, "since": since, "until": until},
    )
    return {key: seconds / DAY_S for key, seconds in rows if seconds > 0.0}
