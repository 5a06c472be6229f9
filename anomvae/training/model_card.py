"""Describes a fitted model: how it was made, of what columns, and the false-alarm rate that it promises."""

import importlib.metadata
from collections.abc import Iterable, Mapping

import msgspec

import anomvae
from anomvae.config import FitSettings, SchemaSettings, column_toml
from anomvae.errors import ModelError
from anomvae.model.calibration import Calibration
from anomvae.model.column_writing import ASKED, settings_to_keep, writing_of
from anomvae.model.cross_fitting import Dependence
from anomvae.model.detector import About, ColumnFigures, Detector, Origin
from anomvae.model.schema import Column, Schema, Values, gaps
from anomvae.records.columns import ColumnReport
from anomvae.records.results import Calibration as CalibrationReport
from anomvae.records.results import Lineage, ThresholdChange, Training
from anomvae.records.sentences import column_reason, selection
from anomvae.training.fit_detector import FittedDetector


def describe(
    fitted: FittedDetector,
    settings: FitSettings,
    schema: SchemaSettings,
    columns: Mapping[str, Values],
    origin: Origin,
) -> About:
    """The description that is saved with a model.

    Args:
        fitted: the detector and how it was made.
        settings: the settings of the fit.
        schema: what the user stated about columns.
        columns: the typed training columns by name, each of shape (n,).
        origin: where these come from.
    """
    threshold = promise(fitted.detector.calibration, fitted.dependence, fitted.blocks)
    return About(
        created_by=f"anomvae {anomvae.__version__}",
        settings=settings,
        schema=schema,
        columns=_figures(fitted, columns),
        training=_training(fitted, settings),
        threshold=threshold,
        origin=origin,
        history=(ThresholdChange(alpha=threshold.alpha, threshold=threshold.threshold, by="fit"),),
        self_test=fitted.self_test,
        reference=fitted.reference,
        groups=fitted.groups,
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that a model's numbers depend on."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy")}


def _training(fitted: FittedDetector, settings: FitSettings) -> Training:
    """The layout of the networks, and what training reached on rows out of fold."""
    encoding, vae = fitted.detector.encoding, fitted.detector.ensemble.vae
    deviances = fitted.out_of_fold.deviances
    recon, kl = float(deviances.columns[0].sum(axis=1).mean()), float(deviances.kl[0].mean())
    encoder = [str(units) for units in (encoding.width, *fitted.hidden)]
    latent = f"[{fitted.latent},{fitted.latent}]"
    return Training(
        layout="-".join([*encoder, latent, str(fitted.latent), *reversed(encoder)]),
        hidden=fitted.hidden,
        latent=fitted.latent,
        beta=settings.beta,
        steps=fitted.steps,
        steps_planned=fitted.steps_planned,
        members=vae.members,
        device=fitted.device,
        seed=settings.seed,
        recon=recon,
        kl=kl,
        elbo=-(recon + kl),
        latents_used=fitted.latents_used,
        by_hand=settings.by_hand,
    )


def _figures(fitted: FittedDetector, columns: Mapping[str, Values]) -> tuple[ColumnFigures, ...]:
    """The figures of every modelled column; of a date, those of the first of its features."""
    features = {f.column: f for f in reversed(fitted.detector.encoding.features) if f.part != "mark"}
    figures = []
    for column in fitted.detector.schema.columns:
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


def column_reports(schema: Schema, figures: Iterable[ColumnFigures] = ()) -> tuple[ColumnReport, ...]:
    """Every column of the training table as a record, with its reason in words.

    Args:
        schema: what the columns are.
        figures: of those that a model was fitted to.
    """
    found = {column.name: column for column in figures}
    return tuple(_column_report(column, found.get(column.name)) for column in schema.columns)


def _column_report(column: Column, figures: ColumnFigures | None) -> ColumnReport:
    keep = settings_to_keep(column)
    report = ColumnReport(
        name=column.name,
        kind=column.kind,
        modelled=column.modelled,
        reason=column_reason(column.reason),
        code=column.reason.code,
        asked=column.reason.code in ASKED,
        keep=column_toml(column.name, keep) if keep else "",
        writing=writing_of(column),
    )
    if figures is None:
        return report
    return msgspec.structs.replace(
        report,
        levels=figures.levels,
        missing_share=figures.missing_share,
        low=figures.low,
        high=figures.high,
    )


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
    """The false-alarm rate that a calibration promises, with its confidence interval, as a record.

    Args:
        found: the calibration.
        rows: how the calibration rows depend on their neighbours.
        blocks: how many blocks of neighbouring rows there are.
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
    """The description of a model, which `model` names in the message.

    Raises:
        ModelError: the detector has none, since it was not fitted from files.
    """
    if detector.about is None:
        raise ModelError(f"{model}: carries no lineage.")
    return detector.about
