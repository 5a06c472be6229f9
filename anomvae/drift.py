"""The nouns of drift: how the rows of a file differ from training, and what that leaves for the files after it."""

import msgspec


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file's rows differ from training in one column, or a part of a date (`part`).

    `z`: the largest deviation in standard errors, negative where there is less than usual; `p`: of this column alone;
    `told`: what changed, empty where that may be chance. `new`: the commonest value never seen. `counts`: rows of the
    file in each bin, the last one of gaps.
    Where something is told also what drawing it needs: `bins` by name, and `usual`, the counts of training.
    """

    column: str
    part: str = ""
    z: float
    p: float
    told: str = ""
    new: str = ""
    counts: tuple[int, ...]
    bins: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether rows are still distributed as in training. `columns`, `score`: this file.

    The score is counted and not tested (z is 0, p is 1): a calibration row was judged by one member, a new row by all.

    `p`: the chance of as much in a clean file, over columns, flag count and windows; at most 0.0001 is told as the
    verdict `drifted`. `files`: how many of the newest files together say it; `told`: what they say, the surest first.
    `alone`: this file is off by itself, and left out when the next files are taken together.
    """

    p: float
    files: int
    alone: bool
    told: tuple[str, ...]
    columns: tuple[ColumnDrift, ...]
    score: ColumnDrift


REMEMBERED = 8  # files before the newest that are judged together with it


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file leaves for the next ones: rows scored and flagged, and the counts of every column and the score."""

    rows: int
    flagged: int
    counts: tuple[tuple[int, ...], ...]


def evidence(rows: int, flagged: int, drift: Drift) -> Evidence:
    """The evidence of one file."""
    return Evidence(rows, flagged, tuple(one.counts for one in (*drift.columns, drift.score)))
