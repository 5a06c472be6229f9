"""Typed columns to a fitted detector: encode, deal folds, train, score out of fold, calibrate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from anomvae.config import FitSettings, seconds
from anomvae.errors import DataError
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.cross_fitting import (
    Dependence,
    OutOfFold,
    Suspects,
    block_ids,
    calibrate,
    deal,
    dependence,
    extended,
    most_anomalous,
    score_out_of_fold,
    score_without_hiding,
    standing_out,
    training_pools,
    usual,
)
from anomvae.model.detector import Detector
from anomvae.model.drift import Reference, fit_reference
from anomvae.model.encoder import Encoded, Encoding, encode, fit_encoding
from anomvae.model.likelihood import Ensemble
from anomvae.model.mixture import fit_density
from anomvae.model.schema import Schema, Values, gaps
from anomvae.model.self_test import self_test
from anomvae.model.vae import VAE
from anomvae.records.results import Power

if TYPE_CHECKING:
    from anomvae.training.trainer import Recipe


LEAST_ROWS = 20


class FittedDetector(msgspec.Struct, frozen=True):
    """A detector and what is worth telling of how it was made."""

    detector: Detector
    out_of_fold: OutOfFold
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


def fit_detector(
    schema: Schema,
    columns: Mapping[str, Values],
    settings: FitSettings,
    files: Ints | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    folds: Literal["blocks", "random"] = "blocks",
    least_rows: int = LEAST_ROWS,
) -> FittedDetector:
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
    once = partial(_fit_once, schema, columns, files, folds=folds, least_rows=least_rows)
    if not settings.contamination:
        return once(settings, everyone, progress=progress)
    if settings.max_time is not None:  # it is told for both rounds together
        half = seconds(settings.max_time, "--max-time") / 2
        settings = msgspec.structs.replace(settings, max_time=f"{half}s")
    quick = msgspec.structs.replace(settings, selftest=False)
    first = once(quick, everyone, progress=lambda done, total: progress(done, 2 * total))
    left_out = most_anomalous(standing_out(first.out_of_fold), settings.contamination)
    return once(settings, left_out, progress=lambda done, total: progress(total + done, 2 * total))


def _fit_once(
    schema: Schema,
    every: Mapping[str, Values],
    files: Ints | None,
    settings: FitSettings,
    left_out: Bools,
    *,
    progress: Callable[[int, int], None],
    folds: Literal["blocks", "random"],
    least_rows: int,
) -> FittedDetector:
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
    ensemble = Ensemble(encoding, VAE(trained.arrays, recipe.hidden), density, trained.seen)
    out_of_fold = score_out_of_fold(ensemble, rows, dealt)
    fitted = calibrate(ensemble, rows, dealt, out_of_fold, blocks=blocks, alpha=settings.alpha)
    detector = Detector(
        schema=schema,
        ensemble=fitted.ensemble,
        anomaly_score=fitted.anomaly_score,
        calibration=fitted.calibration,
        intervals=fitted.intervals,
    )
    suspects = None
    if left_out.any():
        suspects = _suspects(detector, out_of_fold, every, left_out)
        detector = detector.with_calibration(extended(detector.calibration, suspects.scores[~suspects.out]))
    calibrated = _calibrated(fitted.scores, left_out, suspects)
    return FittedDetector(
        detector=detector,
        out_of_fold=out_of_fold,
        dependence=found,
        blocks=int(blocks.max()) + 1,
        hidden=recipe.hidden,
        latent=recipe.latent,
        latents_used=latents_used(ensemble.vae, rows),
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
    n: int, found: Dependence, files: Ints | None, folds: Literal["blocks", "random"], seed: int
) -> tuple[Ints, Ints]:
    """The block and the fold of every row, each (n,)."""
    if folds == "random":
        alone = np.arange(n)
        return alone, np.random.default_rng(seed).permutation(deal(alone, np.random.default_rng(seed)))
    blocks = block_ids(n, found.length, files)
    return blocks, deal(blocks, np.random.default_rng(seed))


def _calibrated(scores: Floats, left_out: Bools, suspects: Suspects | None) -> Floats:
    """The score of every row (n,) that was calibrated on, also of those left out of training; else NaN."""
    found = np.full(len(left_out), np.nan)
    found[~left_out] = scores
    if suspects is not None:
        found[suspects.rows] = np.where(suspects.out, np.nan, suspects.scores)
    return found


def _blocks(files: Ints | None, found: Dependence, normal: Bools) -> Ints:
    return block_ids(int(normal.sum()), found.length, None if files is None else files[normal])


def _reference(
    detector: Detector,
    every: Mapping[str, Values],
    scores: Floats,
    blocks: Callable[[Bools], Ints],
) -> Reference:
    """The distribution of the rows that have a score."""
    normal = ~np.isnan(scores)
    columns = {name: values[normal] for name, values in every.items()}
    rows = detector.encode(columns)
    return fit_reference(detector.encoding, columns, rows, scores[normal], blocks(normal))


def _without(columns: Mapping[str, Values], left_out: Bools) -> Mapping[str, Values]:
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


def _suspects(detector: Detector, out_of_fold: OutOfFold, columns: Mapping[str, Values], left_out: Bools) -> Suspects:
    """What a detector says of the rows that it was not trained on: which of them are usual after all."""
    rows = detector.encode({name: values[left_out] for name, values in columns.items()})
    rule = detector.anomaly_score
    without_hiding = rule.member_scores(detector.ensemble, rows).score
    normal = usual(score_without_hiding(rule, out_of_fold), without_hiding)
    return Suspects(np.flatnonzero(left_out), ~normal, detector.score_encoded(rows).score)


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
    mu, _ = vae.posterior(rows.inputs[:4096].T)
    return int(np.median((mu.var(axis=2) > 0.01).sum(axis=1)))
