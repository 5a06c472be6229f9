"""What the rest of a row says of a column: each column hidden in turn, and looked at through the members.

One pass answers three questions: how surprising is the column's own value when the network cannot copy it (the
masked term of the score), how much surprise is left in the others (reasons), what was expected instead.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np

from anomvae.model.calibration import Tail, column_surprise
from anomvae.model.encoding import Encoded, Feature
from anomvae.model.scoring import Floats, Scorer

S = TypeVar("S", bound=msgspec.Struct)

CELLS = 8192  # rows times columns judged at once; bounds memory


class Hidden(msgspec.Struct, frozen=True):
    """What n rows look like without each of their columns; means over the members.

    `own` (n, columns): deviance of a column's value when that column is hidden. `left` (n, columns): the surprise,
    in nats, left in all other columns then. `guess` (n, features): the number expected of a hidden feature, in
    encoded units, or the index of its likeliest level.
    """

    own: Floats
    left: Floats
    guess: Floats


def look(scorer: Scorer, tails: Sequence[Tail], rows: Encoded) -> Hidden:
    """Hide every column of every row (n) in turn.

    Args:
        scorer: the members.
        tails: of every column's deviance, as they turn it into surprise.
        rows: n encoded rows.
    """
    step = max(CELLS // len(scorer.encoding.columns), 1)
    parts = [_look(scorer, tails, rows.take(slice(at, at + step))) for at in range(0, max(len(rows), 1), step)]
    return joined(Hidden, parts)


def _look(scorer: Scorer, tails: Sequence[Tail], rows: Encoded) -> Hidden:
    columns, n = len(scorer.encoding.columns), len(rows)
    hidden, whole = joined(Encoded, [hide(scorer, rows, j) for j in range(columns)]), joined(Encoded, [rows] * columns)
    deviances, outputs = np.zeros((len(hidden), columns)), np.zeros((len(hidden), scorer.vae.outputs))
    for at, found, _ in scorer.vae.blocks(np.hstack([hidden.x, hidden.hidden])):
        outputs[at] = found.mean(axis=0)
        deviances[at] = scorer.by_column(scorer.judge(whole.take(at), found)).mean(axis=0)
    each = np.arange(columns)
    own = deviances.reshape(columns, n, columns)[each, :, each].T
    surprise = column_surprise(tails, deviances).reshape(columns, n, columns)
    surprise[each, :, each] = 0.0
    return Hidden(own, surprise.sum(axis=2).T, _guesses(scorer, outputs.reshape(columns, n, scorer.vae.outputs)))


def own_deviances(scorer: Scorer, rows: Encoded, columns: Floats) -> Floats:
    """Deviance of every chosen column when it is hidden, mean over the members (n, columns), 0 for the others.

    Args:
        scorer: the members.
        rows: n encoded rows.
        columns: (columns,): 1 where a column is to be hidden.
    """
    out = np.zeros((len(rows), len(scorer.encoding.columns)))
    asked = np.flatnonzero(columns).tolist()
    step = max(CELLS // max(len(asked), 1), 1)
    for start in range(0, len(rows) if asked else 0, step):
        part = rows.take(slice(start, start + step))
        hidden = joined(Encoded, [hide(scorer, part, column) for column in asked])
        outputs = np.empty((scorer.vae.members, len(hidden), scorer.vae.outputs))
        for at, found, _ in scorer.vae.blocks(np.hstack([hidden.x, hidden.hidden])):
            outputs[:, at] = found
        for column, its in zip(asked, np.split(outputs, len(asked), axis=1), strict=True):
            out[start : start + step, column] = scorer.judge(part, its, column).sum(axis=2).mean(axis=0)
    return out


def hide(scorer: Scorer, rows: Encoded, column: int) -> Encoded:
    """The rows with every feature of one original column hidden."""
    x, hidden = rows.x.copy(), rows.hidden.copy()
    for j, feature, at in features_of(scorer, column):
        x[:, at : at + feature.units + feature.gaps] = 0.0
        hidden[:, j] = True
    return msgspec.structs.replace(rows, x=x, hidden=hidden)


def features_of(scorer: Scorer, column: int) -> list[tuple[int, Feature, int]]:
    """The features of one original column: index, feature, first unit."""
    name = scorer.encoding.columns[column]
    every = zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)
    return [(j, feature, at) for j, (feature, at) in enumerate(every) if feature.column == name]


def _guesses(scorer: Scorer, outputs: Floats) -> Floats:
    """Expected number or likeliest level (n, features) from outputs (columns, n, outputs) with that column hidden."""
    guess = np.zeros((outputs.shape[1], len(scorer.encoding.features)))
    for column in range(len(outputs)):
        for j, feature, at in features_of(scorer, column):
            guess[:, j] = guess_of(feature, outputs[column, :, at : at + feature.units])
    return guess


def guess_of(feature: Feature, outputs: Floats) -> Floats:
    """Expected number or index of the likeliest level (n,) from a feature's outputs (n, units)."""
    return outputs[:, 0] if feature.numeric else outputs.argmax(axis=1).astype(np.float64)


def joined(kind: type[S], parts: Sequence[S]) -> S:
    """Records of arrays, one behind the other along the first axis."""
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in kind.__struct_fields__))
