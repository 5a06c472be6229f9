"""Training rows that are held for anomalies: kept from the generator, and told with their place and first reason."""

from collections.abc import Sequence

import numpy as np

from anomvae.model.explanation import reasons
from anomvae.model.schema import Values
from anomvae.pipeline.gather import Gathered
from anomvae.pipeline.learn import Learned
from anomvae.results import ReviewRow

LISTED = 20

Columns = dict[str, Values]


def doubtful(
    learned: Learned, table: Gathered, kept: Sequence[int], paths: Sequence[str], columns: Columns
) -> tuple[Columns, tuple[ReviewRow, ...]]:
    """The columns without the rows to review, and the worst of these.

    Args:
        learned: what was learned from the columns.
        table: the training files as text.
        kept: the table's row that each row of the columns is.
        paths: the files.
        columns: the typed training columns.
    """
    rows = learned.suspects.review() if learned.suspects else []
    if not rows:
        return columns, ()
    normal = np.ones(len(kept), dtype=bool)
    normal[rows] = False
    worst = np.array(rows[:LISTED])
    detector = learned.detector
    encoded = detector.encode({name: values[worst] for name, values in columns.items()})
    scores = detector.score_encoded(encoded)
    decision = detector.decide(scores)
    positions = [table.names.index(name) for name in detector.columns]
    places = [kept[i] for i in worst.tolist()]
    texts = [[cells[at] for at in positions] for cells in table.rows.take(places)]
    told = reasons(detector, encoded, scores, np.arange(len(worst)), texts)
    listed = tuple(
        ReviewRow(
            file=paths[table.file[place]],
            line=int(table.line[place]),
            score=float(scores.score[i]),
            p=float(decision.p[i]),
            reason=told[i][0].text,
        )
        for i, place in enumerate(places)
    )
    return {name: values[normal] for name, values in columns.items()}, listed
