"""Fits a detector to typed columns: encode, assign folds, train the members, score out of fold, calibrate."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from anomvae.config import FitSettings, seconds
from anomvae.errors import DataError
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.cross_fitting import (
    Dependence,
    Folds,
    OutOfFold,
    Suspects,
    are_normal,
    block_folds,
    block_ids,
    calibrate,
    dependence,
    group_folds,
    most_anomalous,
    random_folds,
    score_out_of_fold,
    score_without_hiding,
    standing_out,
    with_more_scores,
)
from anomvae.model.detector import Detector
from anomvae.model.drift import Reference, fit_reference
from anomvae.model.encoder import Encoded, Encoding, encode, fit_encoding
from anomvae.model.groups import NO_GROUPS, GroupColumn, Groups, find_groups, group_columns, stated_groups
from anomvae.model.likelihood import WIDE, Ensemble
from anomvae.model.mixture import fit_density
from anomvae.model.schema import Schema, Values, gaps
from anomvae.model.self_test import self_test
from anomvae.model.vae import VAE
from anomvae.records.results import GroupFolds, Power

if TYPE_CHECKING:
    from anomvae.training.trainer import Recipe

LEAST_ROWS = 20

Progress = Callable[[str, int, int], None]


class FittedDetector(msgspec.Struct, frozen=True):
    """A detector, and what a report of its fit needs.

    `out_of_fold`: deviances of the training rows. `dependence`: of neighbouring rows. `blocks`: how many blocks of
    neighbours there are, of rows or of groups. `hidden`, `latent`: units of the networks' hidden layers and of the
    latent. `latents_used`: latent dimensions that carry information. `steps`: training steps done, of `steps_planned`.
    `device`: of these. `self_test`: how well injected faults are found. `reference`: the distribution that files are
    compared with. `suspects`: rows that were left out of training; None without `contamination`. `groups`: what folds
    kept together; None where nothing was stated or found.
    """

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
    groups: GroupFolds | None = None


def fit_detector(
    schema: Schema,
    columns: Mapping[str, Values],
    settings: FitSettings,
    files: Ints | None = None,
    *,
    progress: Progress = lambda stage, done, total: None,
    unmodelled: Sequence[GroupColumn] = (),
    folds: Literal["blocks", "random"] = "blocks",
    least_rows: int = LEAST_ROWS,
) -> FittedDetector:
    """Train and calibrate a detector on rows most of which are normal.

    With `settings.contamination` that is done twice: the second time without the rows that stood out in the first.

    Args:
        schema: what the columns are.
        columns: typed values by name, each of shape (n,).
        settings: the settings of the fit.
        files: (n,): which file each row came from.
        progress: called with a stage (`training`, `calibration`, `self-test`), what is done and the total.
        unmodelled: columns that the model does not see, which may say what belongs together.
        folds: made of blocks of neighbouring rows or groups; `random` rows are for comparison only.
        least_rows: fewer rows are refused.

    Raises:
        DataError: too few rows, nothing that varies, or training that diverged.
        UsageError: no folds can be made of the groups that are asked for.
    """
    n = len(next(iter(columns.values()))) if columns else 0
    nothing = np.zeros(n, dtype=bool)
    grouping = None if folds == "random" else _group_columns(schema, columns, unmodelled)
    fit_once = partial(_fit_once, schema, columns, files, grouping=grouping, least_rows=least_rows)
    if not settings.contamination:
        return fit_once(settings, nothing, progress=progress)
    if settings.max_time is not None:  # the limit holds for both rounds together
        half = seconds(settings.max_time, "--max-time") / 2
        settings = msgspec.structs.replace(settings, max_time=f"{half}s")
    quick = msgspec.structs.replace(settings, selftest=False)
    first = fit_once(quick, nothing, progress=lambda stage, done, total: progress(stage, done, 2 * total))
    left_out = most_anomalous(standing_out(first.out_of_fold), settings.contamination)

    def second(stage: str, done: int, total: int) -> None:
        progress(stage, done if stage == "self-test" else total + done, total if stage == "self-test" else 2 * total)

    return fit_once(settings, left_out, progress=second)


def _fit_once(
    schema: Schema,
    every: Mapping[str, Values],
    files: Ints | None,
    settings: FitSettings,
    left_out: Bools,
    *,
    progress: Progress,
    grouping: Sequence[GroupColumn] | None,
    least_rows: int,
) -> FittedDetector:
    """One round of `fit_detector`: without the rows `left_out` (n,), except for those that turn out normal.

    `grouping` is what the columns of the table say of groups, None for folds of single rows.
    """
    from anomvae.training.trainer import choose_device, train

    columns = _without(every, left_out)
    n = _checked(columns, least_rows)
    encoding = fit_encoding(schema, columns, discrete=not settings.plain)
    rows = encode(encoding, columns)
    found = dependence(rows.x)
    rng = np.random.default_rng(settings.seed)
    if grouping is None:
        folds, groups = random_folds(n, rng), None
    else:
        blocks = block_folds(n, found.length, None if files is None else files[~left_out], rng)
        folds, groups = _folds(encoding, rows, [one.take(~left_out) for one in grouping], blocks, settings)
    recipe = _recipe(settings, encoding, n, choose_device(settings.device))
    trained = train(encoding, rows, folds.pools, recipe, partial(progress, "training"))
    progress("calibration", 0, 3)
    density = fit_density(encoding, rows, folds.pools, np.random.default_rng(settings.seed))
    ensemble = Ensemble(encoding, VAE(trained.arrays, recipe.hidden), density, trained.seen)
    progress("calibration", 1, 3)
    out_of_fold = score_out_of_fold(ensemble, rows, folds.fold)
    progress("calibration", 2, 3)
    fitted = calibrate(ensemble, rows, folds.fold, out_of_fold, blocks=folds.blocks, alpha=settings.alpha)
    progress("calibration", 3, 3)
    detector = Detector(
        schema=schema,
        ensemble=fitted.ensemble,
        anomaly_score=fitted.anomaly_score,
        calibration=fitted.calibration,
        intervals=fitted.intervals,
    )
    scores = np.full(len(left_out), np.nan)  # of every row that is calibrated on
    scores[~left_out] = fitted.scores
    suspects = None
    if left_out.any():
        suspects = _suspects(detector, out_of_fold, every, left_out)
        detector = detector.with_calibration(with_more_scores(detector.calibration, suspects.scores[~suspects.out]))
        scores[suspects.rows] = np.where(suspects.out, np.nan, suspects.scores)
    power: tuple[Power, ...] = ()
    if settings.selftest:
        rng = np.random.default_rng(settings.seed)
        power = self_test(detector, columns, folds.fold, rng, partial(progress, "self-test"))
    return FittedDetector(
        detector=detector,
        out_of_fold=out_of_fold,
        dependence=found,
        blocks=int(folds.blocks.max()) + 1,
        hidden=recipe.hidden,
        latent=recipe.latent,
        latents_used=latents_used(ensemble.vae, rows),
        steps=trained.steps,
        steps_planned=recipe.steps,
        device=recipe.device,
        self_test=power,
        reference=_reference(
            detector, every, scores, _drift_blocks(scores, files, found, folds if groups else None, left_out)
        ),
        suspects=suspects,
        groups=_group_record(groups, folds) if groups else None,
    )


def _without(columns: Mapping[str, Values], left_out: Bools) -> Mapping[str, Values]:
    """The columns without some rows.

    Raises:
        DataError: only these rows have values in a column.
    """
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


def _checked(columns: Mapping[str, Values], least: int) -> int:
    """The number of rows.

    Raises:
        DataError: there are too few, or nothing in them varies.
    """
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


def _group_columns(
    schema: Schema, columns: Mapping[str, Values], unmodelled: Sequence[GroupColumn]
) -> list[GroupColumn]:
    """What every column of the table says of groups; one of which only the steps are typed says nothing."""
    whole = [column for column in schema.modelled if column.name in columns]
    return [*(one for column in whole for one in group_columns(column, columns[column.name])), *unmodelled]


def _folds(
    encoding: Encoding,
    rows: Encoded,
    columns: Sequence[GroupColumn],
    blocks: Folds,
    settings: FitSettings,
) -> tuple[Folds, Groups | None]:
    """Folds of the groups that are stated, or that stand out among folds of blocks; else these, and no groups.

    Args:
        encoding: the fitted encoding.
        rows: the encoded training rows, n of them.
        columns: what they say of groups.
        blocks: the folds of blocks.
        settings: which columns are stated, and the seed.
    """
    stated = [name for name in settings.group if name != NO_GROUPS or any(one.name == name for one in columns)]
    groups = None
    if stated:
        groups = stated_groups(stated, columns)
    elif not settings.group:
        groups = find_groups(columns, encoding, rows, blocks.fold, blocks.pools, seed=settings.seed)
    if groups is None:
        return blocks, None
    return group_folds(groups.codes, np.random.default_rng(settings.seed)), groups


def _group_record(groups: Groups, folds: Folds) -> GroupFolds:
    """What became of groups, as a record."""
    sizes = np.bincount(groups.codes)
    return GroupFolds(
        columns=groups.columns,
        part=groups.part,
        groups=len(sizes),
        largest=int(sizes.max()),
        folds=len(folds.pools),
        found=groups.found,
        share=groups.share,
        chance=groups.chance,
        p=groups.p,
    )


def _recipe(settings: FitSettings, encoding: Encoding, n: int, device: str) -> "Recipe":
    """What to train on n rows, with a layout that suits a table of this size where the settings leave it open."""
    from anomvae.training.trainer import Recipe

    small = n <= 200
    default = (32,) if small else (64, 64)
    latent = min(len(encoding.columns), 8 if small else 128) if settings.latent == "auto" else settings.latent
    return Recipe(
        hidden=default if settings.hidden is None else settings.hidden,
        latent=latent,
        beta=settings.beta,
        steps=planned_steps(n, len(encoding.columns)) if settings.steps == "auto" else settings.steps,
        batch=settings.batch,
        lr=settings.lr,
        seed=settings.seed,
        device=device,
        seconds=None if settings.max_time is None else seconds(settings.max_time, "--max-time"),
    )


def _suspects(detector: Detector, out_of_fold: OutOfFold, columns: Mapping[str, Values], left_out: Bools) -> Suspects:
    """Score the rows that were left out of training, and find those that are normal after all."""
    rows = detector.encode({name: values[left_out] for name, values in columns.items()})
    rule = detector.anomaly_score
    without_hiding = rule.member_scores(detector.ensemble, rows).score
    normal = are_normal(without_hiding, score_without_hiding(rule, out_of_fold))
    return Suspects(np.flatnonzero(left_out), ~normal, detector.score_encoded(rows).score)


def _drift_blocks(scores: Floats, files: Ints | None, found: Dependence, folds: Folds | None, left_out: Bools) -> Ints:
    """The block, for drift, of every row that is calibrated on (k,).

    Args:
        scores: (n,), NaN for rows that are not calibrated on.
        files: (n,): index of the file of each row.
        found: how rows depend on their neighbours.
        folds: those of groups, whose blocks are taken; None: neighbouring rows make the blocks.
        left_out: (n,): rows that are in no fold; if calibrated on, they count to the block of the row before them.
    """
    normal = ~np.isnan(scores)
    if folds is None:
        return block_ids(int(normal.sum()), found.length, None if files is None else files[normal])
    before = np.maximum(np.cumsum(~left_out) - 1, 0)
    return np.asarray(folds.blocks[before][normal])


def _reference(detector: Detector, columns: Mapping[str, Values], scores: Floats, blocks: Ints) -> Reference:
    """The distribution of the rows that are calibrated on (k,), and their blocks; `scores` (n,) has NaN for others."""
    normal = ~np.isnan(scores)
    chosen = {name: values[normal] for name, values in columns.items()}
    return fit_reference(detector.encoding, chosen, detector.encode(chosen), scores[normal], blocks)


def planned_steps(n: int, columns: int = 1) -> int:
    """Training steps for n rows: 400 for 300 rows, 1,200 from 900 on.

    A wide table takes fewer, by the square root of its columns: a step costs as much more as there are more of them,
    and detection is none the worse (docs/decisions.md, "Wide tables").
    """
    steps = np.clip(400 * n / 300, 200, 1200)
    return int(np.maximum(steps * min(1.0, WIDE / columns) ** 0.5, 200))


def latents_used(vae: VAE, rows: Encoded) -> int:
    """Latent dimensions whose mean varies over rows by more than 0.01, the median over members.

    This is the count of active units of Burda et al., Importance weighted autoencoders, 2016.
    """
    mu, _ = vae.posterior(rows.inputs[:4096].T)
    return int(np.median((mu.var(axis=2) > 0.01).sum(axis=1)))
