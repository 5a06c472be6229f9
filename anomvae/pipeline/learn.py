"""Typed columns to a fitted detector: encode, deal folds, train, judge out of fold, calibrate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import DataError
from anomvae.model.density import fit_density
from anomvae.model.detector import Detector
from anomvae.model.drift import Reference, fit_reference
from anomvae.model.encoding import Encoded, Encoding, encode, fit_encoding
from anomvae.model.folds import Dependence, block_ids, deal, dependence, training_pools
from anomvae.model.out_of_fold import OutOfFold, calibrate, judge_out_of_fold
from anomvae.model.schema import Schema, Values, gaps
from anomvae.model.scoring import Floats, Scorer
from anomvae.model.self_test import self_test
from anomvae.model.trimming import (
    Suspects,
    extended,
    most_anomalous,
    standing_out,
    unmasked,
    unmasked_out_of_fold,
    usual,
)
from anomvae.model.vae import VAE
from anomvae.results import Power
from anomvae.settings import FitSettings, seconds

if TYPE_CHECKING:
    from anomvae.training.trainer import Recipe

LEAST_ROWS = 20


class Learned(msgspec.Struct, frozen=True):
    """A detector and what is worth telling of how it was made."""

    detector: Detector
    judged: OutOfFold
    dependence: Dependence
    blocks: int
    hidden: tuple[int, ...]
    latent: int
    latents_used: int
    steps: int
    steps_planned: int
    device: str
    self_test: tuple[Power, ...]
    reference: Reference
    suspects: Suspects | None = None


def learn(
    schema: Schema,
    columns: Mapping[str, Values],
    settings: FitSettings,
    files: NDArray[np.intp] | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    folds: Literal["blocks", "random"] = "blocks",
    least_rows: int = LEAST_ROWS,
) -> Learned:
    """Train and calibrate on normal rows; with `settings.contamination`, on those that two rounds hold for normal.

    Args:
        schema: what the columns are.
        columns: typed values by name, each of shape (n,).
        settings: the recipe.
        files: (n,): which file each row came from.
        progress: called with steps done and planned.
        folds: blocks of neighbouring rows; `random` is for comparison only.
        least_rows: fewer are refused.

    Raises:
        DataError: too few rows, nothing that varies, or training that diverged.
    """
    n = len(next(iter(columns.values()))) if columns else 0
    everyone = np.zeros(n, dtype=bool)
    once = partial(_learn, schema, columns, files, folds=folds, least_rows=least_rows)
    if not settings.contamination:
        return once(settings, everyone, progress=progress)
    if settings.max_time is not None:  # it is told for both rounds together
        half = seconds(settings.max_time, "--max-time") / 2
        settings = msgspec.structs.replace(settings, max_time=f"{half}s")
    quick = msgspec.structs.replace(settings, selftest=False)
    first = once(quick, everyone, progress=lambda done, total: progress(done, 2 * total))
    left_out = most_anomalous(standing_out(first.judged), settings.contamination)
    return once(settings, left_out, progress=lambda done, total: progress(total + done, 2 * total))


def _learn(
    schema: Schema,
    every: Mapping[str, Values],
    files: NDArray[np.intp] | None,
    settings: FitSettings,
    left_out: NDArray[np.bool_],
    *,
    progress: Callable[[int, int], None],
    folds: Literal["blocks", "random"],
    least_rows: int,
) -> Learned:
    """One round: train and calibrate on all rows but those left out; what is usual of these calibrates as well."""
    from anomvae.training.trainer import choose_device, train

    columns, origin = _without(every, left_out), files
    files = None if files is None else files[~left_out]
    n = _checked(columns, least_rows)
    encoding = fit_encoding(schema, columns, discrete=not settings.plain)
    rows = encode(encoding, columns)
    found = dependence(rows.x)
    blocks, dealt = _dealt(n, found, files, folds, settings.seed)
    recipe = _recipe(settings, encoding, n, choose_device(settings.device))
    pools = training_pools(dealt, 1 if folds == "random" else found.length)
    trained = train(encoding, rows, pools, recipe, progress)
    density = fit_density(encoding, rows, pools, np.random.default_rng(settings.seed))
    scorer = Scorer(encoding, VAE(trained.arrays, recipe.hidden), density, trained.seen)
    judged = judge_out_of_fold(scorer, rows, dealt)
    detector, scores = calibrate(schema, scorer, rows, dealt, judged, blocks=blocks, alpha=settings.alpha)
    suspects = _judge(detector, judged, every, left_out) if left_out.any() else None
    calibrated = _calibrated(scores, left_out, suspects)
    return Learned(
        detector=detector,
        judged=judged,
        dependence=found,
        blocks=int(blocks.max()) + 1,
        hidden=recipe.hidden,
        latent=recipe.latent,
        latents_used=latents_used(scorer.vae, rows),
        steps=trained.steps,
        steps_planned=recipe.steps,
        device=recipe.device,
        self_test=self_test(detector, columns, dealt, np.random.default_rng(settings.seed))
        if settings.selftest
        else (),
        reference=_reference(detector, every, calibrated, partial(_blocks, origin, found)),
        suspects=suspects,
    )


def _dealt(
    n: int, found: Dependence, files: NDArray[np.intp] | None, folds: Literal["blocks", "random"], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The block and the fold of every row, each (n,)."""
    if folds == "random":
        alone = np.arange(n)
        return alone, np.random.default_rng(seed).permutation(deal(alone, np.random.default_rng(seed)))
    blocks = block_ids(n, found.length, files)
    return blocks, deal(blocks, np.random.default_rng(seed))


def _calibrated(scores: Floats, left_out: NDArray[np.bool_], suspects: Suspects | None) -> Floats:
    """The score of every row (n,) that was calibrated on, also of those left out of training; else NaN."""
    found = np.full(len(left_out), np.nan)
    found[~left_out] = scores
    if suspects is not None:
        found[suspects.rows] = np.where(suspects.out, np.nan, suspects.scores)
    return found


def _blocks(files: NDArray[np.intp] | None, found: Dependence, normal: NDArray[np.bool_]) -> NDArray[np.intp]:
    return block_ids(int(normal.sum()), found.length, None if files is None else files[normal])


def _reference(
    detector: Detector,
    every: Mapping[str, Values],
    scores: Floats,
    blocks: Callable[[NDArray[np.bool_]], NDArray[np.intp]],
) -> Reference:
    """The distribution of the rows that have a score."""
    normal = ~np.isnan(scores)
    columns = {name: values[normal] for name, values in every.items()}
    rows = detector.encode(columns)
    return fit_reference(detector.scorer.encoding, columns, rows, scores[normal], blocks(normal))


def _without(columns: Mapping[str, Values], left_out: NDArray[np.bool_]) -> Mapping[str, Values]:
    if not left_out.any():
        return columns
    kept = {name: values[~left_out] for name, values in columns.items()}
    for name, values in kept.items():
        if gaps(values).all():
            message = (
                f"column '{name}' has values in suspected rows only; leave it out (--drop), or lower --contamination"
            )
            raise DataError("nothing_to_learn", message, column=name)
    return kept


def _judge(
    detector: Detector, judged: OutOfFold, columns: Mapping[str, Values], left_out: NDArray[np.bool_]
) -> Suspects:
    """What a detector says of the rows that it was not trained on; it calibrates on the usual ones from here on."""
    rows = detector.encode({name: values[left_out] for name, values in columns.items()})
    scores = detector.score_encoded(rows).score
    back = usual(unmasked_out_of_fold(detector, judged), unmasked(detector, rows))
    detector.calibration = extended(detector.calibration, scores[back])
    return Suspects(np.flatnonzero(left_out), ~back, scores)


def _checked(columns: Mapping[str, Values], least: int) -> int:
    """How many rows there are to learn from."""
    n = len(next(iter(columns.values()))) if columns else 0
    if not columns:
        raise DataError("nothing_to_learn", "no column is left to learn from; see --drop, --id and [schema]")
    if n < least:
        raise DataError("too_few_rows", f"{n} rows are left to learn from; at least {least} are needed")
    if all(
        len(np.unique(values.astype(str) if values.dtype == object else values)) == 1 for values in columns.values()
    ):
        raise DataError("nothing_to_learn", "every column is constant: there is nothing to learn from")
    return n


def _recipe(settings: FitSettings, encoding: Encoding, n: int, device: str) -> "Recipe":
    from anomvae.training.trainer import Recipe

    d = len(encoding.columns)
    small = n <= 200
    default = (32,) if small else (64, 64)
    latent = min(d, 8 if small else 128) if settings.latent == "auto" else settings.latent
    return Recipe(
        hidden=default if settings.hidden is None else settings.hidden,
        latent=latent,
        beta=settings.beta,
        steps=planned_steps(n) if settings.steps == "auto" else settings.steps,
        batch=settings.batch,
        lr=settings.lr,
        seed=settings.seed,
        device=device,
        seconds=None if settings.max_time is None else seconds(settings.max_time, "--max-time"),
    )


def planned_steps(n: int) -> int:
    """Steps for n rows: 400 for 300, 1,200 from 900 on."""
    return int(np.clip(400 * n / 300, 200, 1200))


def latents_used(vae: VAE, rows: Encoded) -> int:
    """Latent dimensions whose mean moves with the row (variance above 0.01: Burda et al. 2016).

    The median over members.
    """
    x = np.hstack([rows.x[:4096], rows.hidden[:4096]])
    mu, _ = vae.posterior(x.T)
    return int(np.median((mu.var(axis=2) > 0.01).sum(axis=1)))
