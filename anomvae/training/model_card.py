"""What a saved model says of itself: how it was made, of what columns, with which promise."""

import importlib.metadata
from collections.abc import Mapping

import anomvae
from anomvae.config import FitSettings, SchemaSettings
from anomvae.errors import ModelError
from anomvae.model.calibration import Calibration
from anomvae.model.cross_fitting import Dependence
from anomvae.model.detector import About, ColumnFigures, Detector, Origin
from anomvae.model.schema import Schema, Values, gaps
from anomvae.records.results import Calibration as CalibrationReport
from anomvae.records.results import ColumnReport, Lineage, ThresholdChange, Training
from anomvae.records.sentences import column_reason, selection
from anomvae.training.fit_detector import Learned


def describe(
    learned: Learned, settings: FitSettings, schema: SchemaSettings, columns: Mapping[str, Values], origin: Origin
) -> About:
    """What a saved model says of itself.

    Args:
        learned: the detector and how it was made.
        settings: the recipe.
        schema: what was said of columns.
        columns: the typed training columns.
        origin: where they come from.
    """
    threshold = promise(learned.detector.calibration, learned.dependence, learned.blocks)
    return About(
        created_by=f"anomvae {anomvae.__version__}",
        settings=settings,
        schema=schema,
        columns=_figures(learned, columns),
        training=_training(learned, settings),
        threshold=threshold,
        origin=origin,
        history=(ThresholdChange(alpha=threshold.alpha, threshold=threshold.threshold, by="fit"),),
        self_test=learned.self_test,
        reference=learned.reference,
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that a model's numbers depend on."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy")}


def _training(learned: Learned, settings: FitSettings) -> Training:
    encoding, vae = learned.detector.encoding, learned.detector.ensemble.vae
    deviances = learned.out_of_fold.deviances
    recon, kl = float(deviances.columns[0].sum(axis=1).mean()), float(deviances.kl[0].mean())
    there = [str(units) for units in (encoding.width, *learned.hidden)]
    latent = f"[{learned.latent},{learned.latent}]"
    return Training(
        layout="-".join([*there, latent, str(learned.latent), *reversed(there)]),
        hidden=learned.hidden,
        latent=learned.latent,
        beta=settings.beta,
        steps=learned.steps,
        steps_planned=learned.steps_planned,
        members=vae.members,
        device=learned.device,
        seed=settings.seed,
        recon=recon,
        kl=kl,
        elbo=-(recon + kl),
        latents_used=learned.latents_used,
        by_hand=settings.by_hand,
    )


def _figures(learned: Learned, columns: Mapping[str, Values]) -> tuple[ColumnFigures, ...]:
    """The figures of every modelled column; of a date, those of the first of its features."""
    features = {feature.column: feature for feature in reversed(learned.detector.encoding.features)}
    figures = []
    for column in learned.detector.schema.columns:
        if feature := features.get(column.name):
            bounds = feature.numeric and not column.redacted
            figures.append(
                ColumnFigures(
                    name=column.name,
                    levels=None if feature.numeric else len(feature.levels) + len(feature.rare),
                    missing_share=round(float(gaps(columns[column.name]).mean()), 4),
                    low=feature.low if bounds else None,
                    high=feature.high if bounds else None,
                )
            )
    return tuple(figures)


def column_reports(schema: Schema, about: About) -> tuple[ColumnReport, ...]:
    """Every column of the training table as a record, with its reason in words."""
    figures = {column.name: column for column in about.columns}
    reports = []
    for column in schema.columns:
        found = figures.get(column.name)
        reports.append(
            ColumnReport(
                name=column.name,
                kind=column.kind,
                modelled=found is not None,
                reason=column_reason(column.reason),
                levels=found.levels if found else None,
                missing_share=found.missing_share if found else 0.0,
                low=found.low if found else None,
                high=found.high if found else None,
            )
        )
    return tuple(reports)


def lineage(origin: Origin) -> Lineage:
    """Where a model comes from, as a record."""
    return Lineage(
        files=origin.files,
        data_sha256=origin.data_sha256,
        rows_read=origin.rows_read,
        rows_used=origin.rows_used,
        selection=selection(origin.conditions),
        seed=origin.seed,
        versions=origin.versions,
    )


def promise(found: Calibration, rows: Dependence, blocks: int) -> CalibrationReport:
    """What a calibration promises, as a record.

    Args:
        found: the calibration.
        rows: how its rows depend on their neighbours.
        blocks: how many blocks of these there are.
    """
    low, high = found.rate_interval(found.alpha)
    return CalibrationReport(
        alpha=found.alpha,
        threshold=found.threshold(found.alpha),
        rows=len(found.scores),
        effective_rows=round(found.effective, 1),
        rate_low=low,
        rate_high=high,
        supported_alpha=found.supported,
        estimated=found.alpha < found.supported,
        dependent=rows.dependent,
        correlation=round(rows.correlation, 3),
        blocks=blocks,
        tail_shape=found.tail_shape,
        tail_scale=found.tail_scale,
    )


def about_of(model: str, detector: Detector) -> About:
    """What a model says of itself.

    Raises:
        ModelError: it says nothing.
    """
    if detector.about is None:
        raise ModelError(f"{model}: carries no lineage.")
    return detector.about
