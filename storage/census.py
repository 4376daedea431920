"""How much of everything there is, counted by the database in one look."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Census:
    """Numbers of a moment.

    Attributes:
        trials: By study and by Optuna's state in lower case.
        leases: By study: open leases that hold, and open leases past their end.
    """

    trials: dict[tuple[str, str], int]
    leases: dict[tuple[str, str], int]


_TRIALS = text("""
SELECT s.name, lower(t.state::text) AS state, count(*) AS number
FROM spikefront.study s JOIN public.trials t USING (study_id) GROUP BY s.name, t.state
""")
_LEASES = text("""
SELECT s.name, CASE WHEN l.expires_at > clock_timestamp() THEN 'held' ELSE 'expired' END AS state, count(*) AS number
FROM spikefront.study s JOIN spikefront.lease l USING (study_id) WHERE l.ended_at IS NULL GROUP BY 1, 2
""")


def census(connection: Connection) -> Census:
    """Count trials and open leases of every study."""
    trials, leases = (
        {(row.name, row.state): int(row.number) for row in connection.execute(query)} for query in (_TRIALS, _LEASES)
    )
    return Census(trials, leases)
