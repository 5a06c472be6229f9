"""The fitted detector as one frozen value: typed rows in, scores out, and decisions about scores as a second step."""

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import msgspec

from anomvae.config import Dialect, FitSettings, SchemaSettings
from anomvae.errors import UsageError
from anomvae.model.anomaly_score import AnomalyScore, Scores
from anomvae.model.arrays import Floats
from anomvae.model.calibration import Calibration, Decision
from anomvae.model.conditions import Condition
from anomvae.model.drift import Reference
from anomvae.model.encoder import Encoded, Encoding, encode
from anomvae.model.likelihood import Ensemble
from anomvae.model.schema import Schema, Values
from anomvae.records.results import Calibration as CalibrationReport
from anomvae.records.results import GroupFolds, Power, ThresholdChange, Training


class ColumnFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the training rows of one modelled column were like.

    `levels` is the number of different values of a column that is coded by value, else None. `missing_share` is the
    share of rows without a value. `low` and `high` bound the values of a number; None where no output may show them.
    """

    name: str
    levels: int | None
    missing_share: float
    low: float | None
    high: float | None


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model comes from: the training files and the hash of their bytes, and which rows were chosen.

    `conditions` are those that every training row meets; `versions` are of the libraries that the figures depend on.
    `rows_rejected` are those that could not be read (0 in models of versions that did not count them).
    """

    files: tuple[str, ...]
    data_sha256: str
    rows_read: int
    rows_used: int
    rows_rejected: int = 0
    conditions: tuple[Condition, ...] = ()
    seed: int
    versions: dict[str, str]

    @property
    def rejected_share(self) -> float:
        """The share of training rows that could not be read, among those and the used ones."""
        rows = self.rows_used + self.rows_rejected
        return self.rows_rejected / rows if rows else 0.0


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a saved model says of itself, beside the numbers.

    `settings` and `schema` are what the fit was asked for, so that a later fit can ask for the same. `columns` are the
    modelled ones. `reference`: what rows are compared with for drift. `groups`: what was kept in one fold each.
    """

    created_by: str
    settings: FitSettings
    schema: SchemaSettings
    columns: tuple[ColumnFigures, ...]
    training: Training
    threshold: CalibrationReport
    origin: Origin
    history: tuple[ThresholdChange, ...]
    self_test: tuple[Power, ...] = ()
    reference: Reference | None = None
    groups: GroupFolds | None = None

    @property
    def dialect(self) -> Dialect:
        """How the text of the training files became cells."""
        return self.settings.dialect()


class RowGenerator(Protocol):
    """Draws synthetic rows; scoring knows no more of it, and does without."""

    def sample(self, n: int, given: Mapping[str, object], *, seed: int, training_rows: int) -> dict[str, Values]:
        """Draw n rows as typed columns; see `Detector.sample`."""
        ...

    def rules(self) -> tuple[str, ...]:
        """Which columns follow from which others in every row, for people."""
        ...


class Detector(msgspec.Struct, frozen=True, dict=True, eq=False, kw_only=True):
    """A fitted model of normal rows. It is never changed: what changes makes a new one.

    `schema`: what the columns are. `ensemble`: the encoding and the trained members. `anomaly_score`: how their
    deviances become a score. `calibration`: out-of-fold scores, alpha and threshold. `intervals` (features, 2): 5 % and
    95 % quantile of the residual of each hidden number, in encoded units. `about`: lineage and reports of the fit; None
    where it was fitted on columns in memory. `generator`: draws synthetic rows, if there is one. `model_id`: sha256 of
    the file that the detector was loaded from or saved to, else empty.
    """

    schema: Schema
    ensemble: Ensemble
    anomaly_score: AnomalyScore
    calibration: Calibration
    intervals: Floats
    about: About | None = None
    generator: RowGenerator | None = None
    model_id: str = ""

    def __repr__(self) -> str:
        known = f", model {self.model_id[:12]}" if self.model_id else ""
        return f"<Detector of {len(self.columns)} columns, alpha {self.calibration.alpha:g}{known}>"

    @property
    def encoding(self) -> Encoding:
        """The fitted encoding of the columns."""
        return self.ensemble.encoding

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the modelled columns, in the order of `Scores.contributions`."""
        return self.encoding.columns

    @property
    def reference(self) -> Reference | None:
        """What rows are compared with for drift; None in a model that was fitted on columns in memory."""
        return self.about.reference if self.about else None

    def encode(self, columns: Mapping[str, Values]) -> Encoded:
        """Encode typed columns: floats (dates in seconds, booleans 0/1, NaN missing) or text.

        Those of a counter need their steps beside them (`counters.with_steps`).
        """
        return self.ensemble.with_expected_steps(encode(self.encoding, columns))

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Score rows given as typed columns, each of shape (n,).

        Every number of a row depends on that row, the steps of its counters and the model alone, bit for bit.
        """
        return self.score_encoded(self.encode(columns))

    def score_encoded(self, rows: Encoded) -> Scores:
        """Score rows that are encoded already."""
        return self.anomaly_score.score(self.ensemble, rows)

    def decide(self, scores: Scores, alpha: float | None = None) -> Decision:
        """What scores mean: p-values, severities, and which rows are flagged.

        Args:
            scores: of n rows.
            alpha: the accepted false-alarm rate; None: the model's own.
        """
        return self.calibration.decide(scores.score, alpha)

    def p_values(self, columns: Mapping[str, Values]) -> Floats:
        """The p-value (n,) of rows given as typed columns: score and decision in one step."""
        return self.decide(self.score(columns)).p

    def with_calibration(self, calibration: Calibration, about: About | None = None) -> "Detector":
        """The same detector with another calibration and, if one is given, another description of itself."""
        return msgspec.structs.replace(self, calibration=calibration, about=about or self.about)

    def with_threshold(self, alpha: float, about: About | None = None) -> "Detector":
        """The same detector at another false-alarm rate and, if one is given, with another description of itself."""
        return self.with_calibration(self.calibration.at(alpha), about)

    def with_generator(self, generator: RowGenerator) -> "Detector":
        """The same detector with a generator of synthetic rows."""
        return msgspec.structs.replace(self, generator=generator)

    def with_about(self, about: About) -> "Detector":
        """The same detector with another description of itself."""
        return msgspec.structs.replace(self, about=about)

    def with_model_id(self, model_id: str) -> "Detector":
        """The same detector, known by the sha256 of its file."""
        return msgspec.structs.replace(self, model_id=model_id)

    def sample(self, n: int, given: Mapping[str, object] | None = None, seed: int = 0) -> dict[str, Values]:
        """Draw n synthetic rows as typed columns, without a gate; the same seed gives the same rows.

        Args:
            n: how many.
            given: columns that are fixed, with their values.
            seed: of the random streams.

        Raises:
            UsageError: there is no generator, or what is given cannot be.
        """
        if self.generator is None:
            raise UsageError("this model has no generator; fit it again without --no-generator.")
        return self.generator.sample(n, given or {}, seed=seed, training_rows=len(self.calibration.scores))
