"""One row in depth: the terms of its score, the latent's part, every column, and the change that would mend it.

A change is judged by scoring the changed row like any other: a cell becomes what the rest of the row expects
there, as it is written, and what is told is what that row would score. Knows neither files nor lines.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from anomvae.explained import Change, ColumnPart, ExplainedRow, LatentPart, Replacement, ScoreTerms
from anomvae.model.calibration import column_surprise
from anomvae.model.detector import VIEWS, Detector, Scores
from anomvae.model.encoding import Encoded
from anomvae.model.explanation import expected, repairs
from anomvae.model.masking import features_of, guess_of, hide
from anomvae.model.scoring import Floats

Columns = tuple[int, ...]

USUAL = 2.0  # standard deviations of log KL: about 95 % of training rows
LEADS = 2  # single changes that are tried together with every other one


def dissect(detector: Detector, row: Encoded, texts: Sequence[str], file: str, line: int) -> ExplainedRow:
    """One row in depth.

    Args:
        detector: the fitted model.
        row: one encoded row.
        texts: its cells as the user wrote them, of the modelled columns.
        file: the row's file, for the record.
        line: and its line.
    """
    scores = detector.score_encoded(row)
    gains, guesses = repairs(detector, row, scores, np.zeros(1, dtype=np.intp))
    shares, guess = gains[0] / max(float(gains[0].sum()), 1e-12), guesses[0]
    terms, latent = _terms(detector, scores)
    flagged = bool(scores.p[0] <= detector.calibration.alpha)
    return ExplainedRow(
        file=file,
        line=line,
        score=float(scores.score[0]),
        recon=float(scores.recon[0]),
        kl=float(scores.kl[0]),
        p=float(scores.p[0]),
        estimated=bool(scores.estimated[0]),
        severity=float(scores.severity[0]),
        flagged=flagged,
        terms=terms,
        latent=latent,
        columns=_columns(detector, texts, guess, scores, shares),
        changes=tuple(_changes(detector, row, texts, guess)) if flagged else (),
    )


def _terms(detector: Detector, scores: Scores) -> tuple[ScoreTerms, LatentPart]:
    """The views of the row, and its KL beside training's."""
    median, spread = detector.terms.kl.tolist()
    kl = float(scores.kl[0])
    z = (np.log(kl + 1e-12) - median) / spread
    latent = LatentPart(
        kl=kl,
        low=float(np.exp(median - USUAL * spread)),
        high=float(np.exp(median + USUAL * spread)),
        state="usual" if abs(z) <= USUAL else "high" if z > 0 else "low",
    )
    return ScoreTerms(**dict(zip((*VIEWS, "hidden", "unseen"), scores.views[0].tolist(), strict=True))), latent


def _columns(
    detector: Detector, texts: Sequence[str], guess: Floats, scores: Scores, shares: Floats
) -> tuple[ColumnPart, ...]:
    """Every column, the culprits first; guess (features,) is what is expected where a column is hidden."""
    deviance = scores.contributions[0]
    surprise = column_surprise(detector.terms.columns, scores.contributions)[0]
    parts = []
    for j in np.lexsort((-surprise, -shares)).tolist():
        told, low, high = expected(detector, j, guess)
        parts.append(
            ColumnPart(
                column=detector.columns[j],
                value=texts[j],
                expected=told,
                low=low,
                high=high,
                deviance=float(deviance[j]),
                surprise=float(surprise[j]),
                share=round(float(shares[j]), 4),
            )
        )
    return tuple(parts)


def _changes(detector: Detector, row: Encoded, texts: Sequence[str], guess: Floats) -> list[Change]:
    """The best change of one column and, where it does not suffice, the best of two.

    Of two: the best single ones, each with every other column, both hidden and expected anew.
    """
    single: list[Columns] = [(j,) for j in range(len(detector.columns))]
    guesses = np.repeat(guess[None], len(single), axis=0)
    scores, p = _rescored(detector, row, single, guesses)
    order = np.argsort(scores, kind="stable").tolist()
    found = [_change(detector, texts, single[order[0]], guess, (scores[order[0]], p[order[0]]))]
    if found[0].suffices or len(single) < 2:
        return found
    pairs: list[Columns] = [pair for pair in combinations(order, 2) if pair[0] in order[:LEADS]]
    guesses = _guesses(detector, row, pairs)
    scores, p = _rescored(detector, row, pairs, guesses)
    best = int(np.argmin(scores))
    return [*found, _change(detector, texts, pairs[best], guesses[best], (scores[best], p[best]))]


def _change(
    detector: Detector, texts: Sequence[str], columns: Columns, guess: Floats, judged: tuple[float, float]
) -> Change:
    cells = tuple(
        Replacement(column=detector.columns[j], value=texts[j], expected=expected(detector, j, guess)[0])
        for j in columns
    )
    score, p = map(float, judged)
    return Change(cells=cells, score=score, p=p, suffices=p > detector.calibration.alpha)


def _guesses(detector: Detector, row: Encoded, hidden: Sequence[Columns]) -> Floats:
    """What is expected of each feature (n, features), as in `Hidden.guess`, with each of n sets of columns hidden."""
    scorer, inputs = detector.scorer, []
    for columns in hidden:
        part = row
        for j in columns:
            part = hide(scorer, part, j)
        inputs.append(np.hstack([part.x, part.hidden]))
    blocks = scorer.vae.blocks(np.concatenate(inputs))
    outputs = np.concatenate([found.mean(axis=0) for _, found, _ in blocks])
    guess = np.zeros((len(hidden), len(scorer.encoding.features)))
    for j, (feature, at) in enumerate(zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)):
        guess[:, j] = guess_of(feature, outputs[:, at : at + feature.units])
    return guess


def _rescored(detector: Detector, row: Encoded, sets: Sequence[Columns], guesses: Floats) -> tuple[Floats, Floats]:
    """Score and p (n,) of the row with each of n sets of columns as guesses (n, features) have them."""
    changed = row.take(np.zeros(len(sets), dtype=np.intp))
    for i, columns in enumerate(sets):
        for column in columns:
            _substitute(detector, changed, i, column, guesses[i])
    scores = detector.score_encoded(changed)
    return scores.score, scores.p


def _substitute(detector: Detector, rows: Encoded, i: int, column: int, guess: Floats) -> None:
    """Row i gets the expected value of a column: a number as it is told, or the likeliest level."""
    for j, feature, at in features_of(detector.scorer, column):
        rows.x[i, at : at + feature.units + feature.gaps] = 0.0
        rows.hidden[i, j], rows.level[i, j] = False, -1
        rows.novel[i, j] = rows.gap[i, j] = rows.far[i, j] = False
        if feature.numeric:
            rows.x[i, at] = (float(expected(detector, column, guess)[0]) - feature.center) / feature.scale
        else:
            rows.level[i, j] = int(guess[j])
            rows.x[i, at + rows.level[i, j]] = 1.0
