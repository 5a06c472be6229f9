"""The nouns of a challenge: a model in use and a new one, side by side on the same rows, which neither has seen."""

import msgspec


class Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model makes of the rows. `low` and `high` bound its flag rate with 95 % confidence.

    `power`: the share of faults of each kind that its self-test found, when it was fitted.
    """

    model: str
    model_id: str
    alpha: float
    flagged: int
    rate: float
    low: float
    high: float
    mean_score: float
    power: dict[str, float]


class Challenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A champion and a challenger on `rows` held-out rows; `unreadable` ones are no rows of one of the two schemas.

    `both`, `champion_only`, `challenger_only`: rows flagged by both, and by one of them alone.
    """

    rows: int
    unreadable: int
    both: int
    champion_only: int
    challenger_only: int
    champion: Side
    challenger: Side
