"""Describes a fitted model: how it was made, of what columns, and the false-alarm rate that it promises."""

import importlib.metadata
from collections.abc import Mapping

import anomvae
from anomvae.config import FitSettings, SchemaSettings
from anomvae.errors import ModelError
from anomvae.model.calibration import Calibration
from anomvae.model.cross_fitting import Dependence
from anomvae.model.detector import About, Detector
from anomvae.model.schema import Values, gaps
from anomvae.records.results import Calibration as CalibrationReport
from anomvae.records.results import ColumnReport, Lineage, ThresholdChange, Training
from anomvae.training.fit_detector import FittedDetector


def describe(
    fitted: FittedDetector,
    settings: FitSettings,
    schema: SchemaSettings,
    columns: Mapping[str, Values],
    lineage: Lineage,
) -> About:
    """The description that is saved with a model.

    Args:
        fitted: the detector and how it was made.
        settings: the settings of the fit.
        schema: what the user stated about columns.
        columns: the typed training columns by name, each of shape (n,).
        lineage: where these come from.
    """
    threshold = promise(fitted.detector.calibration, fitted.dependence, fitted.blocks)
    return About(
        created_by=f"anomvae {anomvae.__version__}",
        settings=settings,
        schema=schema,
        columns=_reports(fitted, columns),
        training=_training(fitted, settings),
        threshold=threshold,
        lineage=lineage,
        history=(ThresholdChange(alpha=threshold.alpha, threshold=threshold.threshold, by="fit"),),
        self_test=fitted.self_test,
        reference=fitted.reference,
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


def _reports(fitted: FittedDetector, columns: Mapping[str, Values]) -> tuple[ColumnReport, ...]:
    features = {feature.column: feature for feature in reversed(fitted.detector.encoding.features)}
    reports = []
    for column in fitted.detector.schema.columns:
        feature = features.get(column.name)
        if feature is None:
            reports.append(ColumnReport(name=column.name, kind=column.kind, modelled=False, reason=column.reason))
            continue
        bounds = feature.numeric and not column.redacted
        reports.append(
            ColumnReport(
                name=column.name,
                kind=column.kind,
                modelled=True,
                reason=column.reason,
                levels=None if feature.numeric else len(feature.levels) + len(feature.rare),
                missing_share=round(float(gaps(columns[column.name]).mean()), 4),
                low=feature.low if bounds else None,
                high=feature.high if bounds else None,
            )
        )
    return tuple(reports)


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
