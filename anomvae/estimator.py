"""The detector as a scikit-learn estimator: `anomvae.AnomVAE`. Only this module and `anomvae.quality` use scikit-learn.

scikit-learn's sign convention holds here alone: `score_samples` is higher for more normal rows; it is minus the score.
A table with named columns (pandas, polars, Arrow) is read as the text that a CSV file of it would have, so that
`anomvae fit` and `AnomVAE.fit` make the same model of it; an array is numbers. Errors of the input are ValueErrors,
as scikit-learn's callers expect.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, OutlierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("AnomVAE needs scikit-learn; install it with: pip install 'anomvae[sklearn]'.") from error

from anomvae.config import FitSettings, SchemaSettings, build
from anomvae.errors import DataError, UsageError
from anomvae.model.anomaly_score import Scores
from anomvae.model.arrays import Floats
from anomvae.model.counters import training_steps
from anomvae.model.detector import Detector
from anomvae.model.explain import reasons
from anomvae.model.groups import GroupColumn, left_out_columns
from anomvae.model.schema import Schema
from anomvae.model.stated_columns import decisive
from anomvae.records.results import Reason
from anomvae.store import model_file
from anomvae.synthesis import fit_generator
from anomvae.table import frames
from anomvae.training.fit_detector import fit_detector
from anomvae.training.frame_rows import (
    Rows,
    from_array,
    from_cells,
    left_out_message,
    numbered,
    origin,
    schema_of,
    schema_of_array,
    stated_settings,
)
from anomvae.training.model_card import describe

LEAST_ROWS = 10  # scikit-learn's checks fit so few; the command line asks for twice as many
BEYOND = 15  # rows beyond a threshold place its false-alarm rate within a factor of two, 95 times in 100
OUTSIDE_RECIPE = frozenset({"random_state", "schema", "drop", "id"})  # parameters that are no settings of the training
CHECKED: Mapping[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}


class Components(msgspec.Struct, frozen=True):
    """The terms that the scores of n rows are made of.

    `recon` (n,): reconstruction error in nats. `kl` (n,): KL in nats. `columns`: the deviance (n,) of every modelled
    column by name; they sum to `recon`.
    """

    recon: Floats
    kl: Floats
    columns: dict[str, Floats]


class AnomVAE(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Anomaly detection on mixed tables with a variational autoencoder, as a scikit-learn estimator.

    Fit on rows presumed normal. Numbers, categories, booleans, dates and gaps are taken as they are from pandas, polars
    and Arrow tables; arrays hold numbers and gaps (NaN).

    Args:
        alpha: the accepted false-alarm rate, which sets the threshold; `auto` is 0.01, and more where fewer than 1,500
            rows could not place that threshold well (0.05 for 300 rows and less).
        hidden: units of the encoder's layers; None chooses by the number of rows.
        latent: dimensions of the latent space, or `auto`.
        beta: weight of the KL in training.
        steps: optimiser steps, or `auto`.
        generator: train a generating member too, which `sample` needs.
        group: columns (`x0`, `x1` and so on of an array) of which rows with the same value belong together, such as the
            visits of a patient: they are held out together. Without any, dates and identifiers are looked at whether
            they make rows alike; `("none",)` looks at none.
        schema: what columns are, where their cells do not say it: by name a kind, such as `{"zip": "categorical"}`, or
            a dict of the keys of `[schema.columns.NAME]`; or the path of a configuration, such as `anomvae schema -o`
            writes. Only for tables with named columns.
        drop: columns to leave out (`x0`, `x1` and so on of an array).
        id: columns that identify rows, and are left out as well.
        random_state: an int makes the fit repeatable; a RandomState or None draws a seed.

    Attributes:
        detector_: the fitted `Detector`.
        alpha_: the false-alarm rate that was accepted.
        offset_: `score_samples` below it is an anomaly; minus the threshold.
        n_features_in_: columns of the training table.
        feature_names_in_: their names, where they had any.
    """

    def __init__(
        self,
        alpha: float | Literal["auto"] = "auto",
        *,
        hidden: tuple[int, ...] | None = None,
        latent: int | Literal["auto"] = "auto",
        beta: float = 0.03,
        steps: int | Literal["auto"] = "auto",
        generator: bool = False,
        group: tuple[str, ...] = (),
        schema: Mapping[str, str | Mapping[str, Any]] | str | Path | None = None,
        drop: Sequence[str] = (),
        id: Sequence[str] = (),
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.hidden = hidden
        self.latent = latent
        self.beta = beta
        self.steps = steps
        self.generator = generator
        self.group = group
        self.schema = schema
        self.drop = drop
        self.id = id
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """An estimator around a saved model, from `save` or from `anomvae fit`; only its `alpha` is restored.

        Raises:
            ModelError: the file is no model.
        """
        detector = model_file.load(path)
        made = cls(alpha=detector.calibration.alpha)
        names = [column.name for column in detector.schema.columns]
        made.n_features_in_ = len(names)
        if names != numbered(len(names)):
            made.feature_names_in_ = np.array(names, dtype=object)
        return made._fitted(detector)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn normal rows and calibrate the threshold; a `UserWarning` names the columns that are left out.

        Args:
            X: an array (n, columns) of numbers, or a pandas, polars or Arrow table.
            y: ignored.

        Raises:
            ValueError: the table cannot be learnt from, or a parameter is out of range.
        """
        with _as_value_errors():
            chosen = stated_settings(self.schema, self.drop, self.id)
            schema, rows, unmodelled = self._training_rows(X, chosen)
            if frames.is_table(X) and (message := left_out_message(schema)):
                warnings.warn(message, UserWarning, stacklevel=2)
            left_out = {column.name for column in schema.columns if not column.modelled}
            columns = {key: values for key, values in rows.columns.items() if key not in left_out}
            stepped = training_steps(schema, columns)
            settings = self._settings(len(next(iter(rows.columns.values()), ())))
            learned = fit_detector(schema, stepped, settings, unmodelled=unmodelled, least_rows=LEAST_ROWS)
            detector = learned.detector
            if settings.generator:
                detector = detector.with_generator(fit_generator(schema, stepped, settings, device=learned.device))
            source = origin(columns, settings.seed)
            detector = detector.with_about(describe(learned, settings, decisive(schema, chosen), columns, source))
        return self._fitted(detector)

    def _fitted(self, detector: Detector) -> Self:
        self.detector_ = detector
        self.alpha_ = detector.calibration.alpha
        self.offset_ = -detector.calibration.threshold(self.alpha_)
        return self

    def _settings(self, rows: int) -> FitSettings:
        recipe = {name: value for name, value in self.get_params().items() if name not in OUTSIDE_RECIPE}
        given = {name: _python_value(value) for name, value in recipe.items()}
        if self.alpha == "auto":
            given["alpha"] = float(np.clip(round(BEYOND / max(rows, 1), 3), 0.01, 0.05))
        return build(FitSettings, {**given, "selftest": False, "seed": _seed(self.random_state)}, _spell)

    def score_samples(self, X: Any) -> Floats:
        """How normal each row is (n,): minus the anomaly score."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> Floats:
        """`score_samples` minus `offset_` (n,): negative for anomalies."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.intp]:
        """-1 for anomalies, +1 for normal rows (n,); each row is decided by itself."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def anomaly_score(self, X: Any) -> Floats:
        """The score (n,), higher for more anomalous rows, as `_av_score` of the command line."""
        return self._scores(X).score

    def p_values(self, X: Any) -> Floats:
        """The chance of such a score among normal rows (n,)."""
        return self.detector_.decide(self._scores(X)).p

    def components(self, X: Any) -> Components:
        """Reconstruction error, KL, and what every column adds to the reconstruction error."""
        scores = self._scores(X)
        columns = dict(zip(self.detector_.columns, scores.contributions.T, strict=True))
        return Components(recon=scores.recon, kl=scores.kl, columns=columns)

    def explain(self, X: Any, top: int = 3) -> list[tuple[Reason, ...]]:
        """The columns to blame for each row, the first the most, with what was expected there.

        Args:
            X: rows, as a rule those that `predict` flagged; normal rows get reasons too.
            top: columns to name for a row, at most; those with a small share are left out.
        """
        rows = self._rows(X)
        encoded = self.detector_.encode(rows.columns)
        scores = self.detector_.score_encoded(encoded)
        texts = list(zip(*rows.texts(self.detector_.columns).values(), strict=True))
        return reasons(self.detector_, encoded, scores, np.arange(len(encoded)), texts, most=top)

    def sample(self, n: int, given: Mapping[str, object] | None = None, random_state: Any = 0) -> Any:
        """Draw n synthetic rows as a pandas DataFrame.

        Args:
            n: how many.
            given: columns that are fixed, with their values.
            random_state: the same int gives the same rows.

        Raises:
            ValueError: the estimator was fitted without a generator, or no row can be what is given.
        """
        check_is_fitted(self, "detector_")
        if self.detector_.generator is None:
            raise ValueError("there is no generator to draw rows from; fit AnomVAE(generator=True).")
        with _as_value_errors():
            columns = self.detector_.sample(n, given, seed=_seed(random_state))
        return frames.frame(self.detector_.schema, columns)

    def save(self, path: str | Path) -> str:
        """Write the model file that `anomvae score -m`, `anomvae.load` and `from_file` open; returns its sha256.

        Raises:
            EnvironmentFault: the file cannot be written.
        """
        check_is_fitted(self, "detector_")
        self.detector_ = model_file.save(self.detector_, Path(path))
        return self.detector_.model_id

    def _scores(self, X: Any) -> Scores:
        rows = self._rows(X)
        return self.detector_.score(rows.columns)

    def _training_rows(self, X: Any, chosen: SchemaSettings) -> tuple[Schema, Rows, list[GroupColumn]]:
        """The schema of a table, its rows, and what the columns that are not modelled say of groups."""
        if frames.is_table(X):
            validate_data(self, X, skip_check_array=True)
            table = frames.cells(X)
            schema = schema_of(table, chosen)
            rows, texts = from_cells(schema, table), table.columns
        else:
            array = validate_data(self, X, **CHECKED, ensure_min_samples=2)
            schema = schema_of_array(array, chosen)
            rows = from_array(array, schema)
            texts = rows.texts(column.name for column in schema.columns if not column.modelled)
        ignored = [column.name for column in schema.columns if not column.modelled]
        return schema, rows, [one for name in ignored for one in left_out_columns(name, texts[name])]

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self, "detector_")
        schema = self.detector_.schema
        with _as_value_errors():
            if frames.is_table(X):
                validate_data(self, X, skip_check_array=True, reset=False)
                return from_cells(schema, frames.cells(X))
            return from_array(validate_data(self, X, **CHECKED, reset=False), schema)


def _spell(keys: tuple[str, ...], value: Any) -> str:
    return f"AnomVAE({', '.join(keys)}={value!r})"


def _python_value(value: Any) -> Any:
    """A parameter as Python's own type: a grid search may hand in numpy's."""
    return value.item() if isinstance(value, np.generic) else value


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(1 << 31))


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Errors of the user's input as scikit-learn's callers expect them."""
    try:
        yield
    except (DataError, UsageError) as error:
        raise ValueError(str(error)) from error
