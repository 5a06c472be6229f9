"""Compares synthetic rows with real ones, by the measures of `anomvae.quality`.

The measures are likeness (shapes of columns, trends of pairs, missing cells, rare categories), a classifier two-sample
test (C2ST: Lopez-Paz & Oquab, "Revisiting classifier two-sample tests", arXiv 1610.06545), use for prediction (train on
synthetic, test on real: Esteban et al., "Real-valued (medical) time series generation with recurrent conditional GANs",
arXiv 1706.02633), and memorisation (copies, distance to the closest record).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model.arrays import Floats
from anomvae.model.detector import Detector
from anomvae.model.schema import Values, gaps
from anomvae.quality import similarity
from anomvae.quality.read_tables import read_tables
from anomvae.quality.records import ColumnShape, PairTrend, QualityResult, Transfer, TwoSample
from anomvae.quality.similarity import Columns
from anomvae.table import frames

SIDE_ROWS = 5_000  # at most, of each side of the classifier test and of distances
TRANSFER_ROWS = 10_000  # at most, that a predictor is trained on
FOLDS = 5
LEVELS = 253  # scikit-learn's histogram trees take 255 categories; rarer ones share the last
MAX_CLASSES = 10  # a number with at most so many values, all of them whole, is a class

NO_HELD_OUT = "needs held-out rows; rows that the generator was trained on cannot stand in for them"


class Sides(msgspec.Struct, frozen=True):
    """The tables that are compared, with the columns that all of them have.

    `real` rows were trained on, `held_out` ones never seen. `kinds` are those of the columns, `names` those of the
    three tables, and `warnings` say what was noticed when they were read.
    """

    real: Columns
    synthetic: Columns
    held_out: Columns | None
    kinds: Mapping[str, str]
    names: tuple[str, str, str | None]
    warnings: tuple[str, ...]

    @property
    def reference(self) -> Columns:
        """The real rows that synthetic ones are compared with: those never seen, where there are any."""
        return self.real if self.held_out is None else self.held_out


def compare(tables: Sequence[Any], label: str | None, seed: int, detector: Detector | None) -> QualityResult:
    """Compare tables as `anomvae.quality` does, which has made sure that scikit-learn is installed.

    Args:
        tables: the training rows, the synthetic rows and, where there are any, the held-out rows: DataFrames or paths.
        label: a column to predict.
        seed: of the subsamples and the classifiers.
        detector: the model that made the synthetic rows.

    Returns:
        All measures.

    Raises:
        UsageError: the tables share no column, or the label is not in them.
        DataError: a file is refused, or a table has no rows.
    """
    sides = _from_frames(tables) if all(map(frames.is_frame, tables)) else _from_files(tables, detector)
    if label is not None and label not in sides.real:
        raise UsageError(f"label '{label}' is not a column of every table{near(label, sides.real)}")
    with _one_thread():
        return _measured(sides, label, seed)


def _one_thread() -> Any:
    """A context with one thread: trees on small tables are slower with more, on a busy machine by minutes."""
    import sklearn.ensemble  # noqa: F401 (only a library that is loaded can be limited)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _measured(sides: Sides, label: str | None, seed: int) -> QualityResult:
    """All measures; samples are drawn in the order of this function, so that a seed gives the same ones."""
    rng = np.random.default_rng(seed)
    real, synthetic, held_out = sides.real, sides.synthetic, sides.held_out
    columns, pairs = _likeness(sides, synthetic, rng)
    shape, trend, overall = _means(columns, pairs)
    rows = similarity.rows_of(synthetic)
    rare = sum(len(similarity.rare_levels(values)) for values in real.values() if values.dtype == object)
    return QualityResult(
        real=sides.names[0],
        synthetic=sides.names[1],
        held_out=sides.names[2],
        rows_real=similarity.rows_of(real),
        rows_synthetic=rows,
        rows_held_out=0 if held_out is None else similarity.rows_of(held_out),
        seed=seed,
        against="training" if held_out is None else "held-out",
        shape=shape,
        trend=trend,
        overall=overall,
        attainable=None if held_out is None else _attainable(sides, rows, rng),
        c2st=_two_sample(sides.reference, synthetic, rng, seed),
        tstr=None if held_out is None or label is None else _transfer(sides, label, rng, seed),
        nearer=None if held_out is None else similarity.nearer(real, held_out, synthetic, SIDE_ROWS, rng),
        copies=similarity.copies(real, synthetic),
        copies_held_out=None if held_out is None else similarity.copies(real, held_out),
        rare=rare,
        rare_kept=rare - sum(len(column.lost) for column in columns),
        missing_gap=max(abs(column.missing_real - column.missing_synthetic) for column in columns),
        columns=columns,
        pairs=pairs,
        cannot_tell=_not_measured(sides, label, rows),
        warnings=sides.warnings,
    )


def _not_measured(sides: Sides, label: str | None, rows: int) -> tuple[str, ...]:
    """What these tables cannot show, and why, for people."""
    texts = []
    if sides.held_out is None:
        texts = [
            f"whether rows were learnt or remembered (distance to the closest record): {NO_HELD_OUT}",
            "what real rows would reach: shapes, trends and the classifier compare with the training rows, "
            "to which copies would look good",
        ]
        texts += [] if label is None else [f"use for predicting '{label}' (TSTR): {NO_HELD_OUT}"]
    if min(rows, similarity.rows_of(sides.reference)) < 2 * FOLDS:
        texts.append(f"whether a classifier can tell the rows apart: needs at least {2 * FOLDS} rows of each kind")
    if len(sides.real) > similarity.PAIR_COLUMNS:
        texts.append(f"trends of pairs beyond the first {similarity.PAIR_COLUMNS} columns: they were not compared")
    return tuple(texts)


def _likeness(
    sides: Sides, rows: Columns, rng: np.random.Generator
) -> tuple[tuple[ColumnShape, ...], tuple[PairTrend, ...]]:
    """Shapes and trends of `rows` beside the reference; gaps and rare categories beside the training rows."""
    real = sides.reference
    shapes = tuple(
        similarity.shape(name, sides.real[name], real[name], rows[name], date=sides.kinds[name] == "datetime")
        for name in rows
    )
    left, right = (similarity.sample(table, similarity.PAIR_ROWS, rng) for table in (real, rows))
    return shapes, similarity.pair_trends(left, right, list(rows)[: similarity.PAIR_COLUMNS])


def _means(columns: Sequence[ColumnShape], pairs: Sequence[PairTrend]) -> tuple[float, float | None, float]:
    """Mean similarity of columns, of pairs (None without pairs), and the mean of both."""
    shape = float(np.mean([column.similarity for column in columns]))
    trend = float(np.mean([pair.similarity for pair in pairs])) if pairs else None
    return shape, trend, shape if trend is None else (shape + trend) / 2


def _attainable(sides: Sides, rows: int, rng: np.random.Generator) -> float:
    """The overall likeness to the held-out rows that as many training rows reach: what chance alone costs."""
    return _means(*_likeness(sides, similarity.sample(sides.real, rows, rng), rng))[2]


def _two_sample(reference: Columns, synthetic: Columns, rng: np.random.Generator, seed: int) -> TwoSample | None:
    """The classifier two-sample test; None where there are too few rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    rows = min(similarity.rows_of(reference), similarity.rows_of(synthetic), SIDE_ROWS)
    if rows < 2 * FOLDS:
        return None
    inputs, categorical = _features([similarity.sample(table, rows, rng) for table in (reference, synthetic)])
    model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    truth = np.repeat([0, 1], rows)
    scores = cross_val_score(model, np.vstack(inputs), truth, cv=folds, scoring="roc_auc")
    return TwoSample(auc=float(scores.mean()), standard_error=float(scores.std(ddof=1) / np.sqrt(FOLDS)), rows=rows)


def _features(tables: Sequence[Columns]) -> tuple[list[Floats], NDArray[np.bool_]]:
    """Tables as matrices of numbers and category codes, coded alike, and which columns are categories."""
    columns = [_coded([table[name] for table in tables]) for name in tables[0]]
    categorical = np.array([values.dtype == object for values in tables[0].values()])
    return [np.column_stack([column[i] for column in columns]) for i in range(len(tables))], categorical


def _coded(columns: Sequence[Values]) -> list[Floats]:
    """One column of several tables as numbers; text as the rank of its frequency in all of them together."""
    if columns[0].dtype != object:
        return [values.astype(np.float64) for values in columns]
    counts = Counter(value for values in columns for value in values.tolist())
    levels = {level: i for i, (level, _) in enumerate(counts.most_common(LEVELS))}
    return [np.array([levels.get(value, LEVELS) for value in values.tolist()], dtype=np.float64) for values in columns]


def _transfer(sides: Sides, label: str, rng: np.random.Generator, seed: int) -> Transfer | None:
    """The same model trained on as many synthetic as real rows, both tested on the held-out ones."""
    assert sides.held_out is not None  # noqa: S101 (its caller asks)
    if len(sides.real) == 1:
        return None
    tables = [_with_label(table, label) for table in (sides.synthetic, sides.real, sides.held_out)]
    rows = min(similarity.rows_of(tables[0]), similarity.rows_of(tables[1]), TRANSFER_ROWS)
    if min(rows, similarity.rows_of(tables[2])) < 2 * FOLDS:
        return None
    tables[:2] = [similarity.sample(table, rows, rng) for table in tables[:2]]
    inputs, categorical = _features([{n: v for n, v in table.items() if n != label} for table in tables])
    targets = [table[label] for table in tables]
    metric = _metric(targets[2], targets[1])
    pairs = list(zip(inputs, targets, strict=True))
    score = [_tested(pairs[i], pairs[2], metric, categorical, seed) for i in (0, 1)]
    ratio = score[0] / score[1] if score[1] > 0 else None
    return Transfer(label=label, metric=metric, on_synthetic=score[0], on_real=score[1], ratio=ratio)


def _with_label(table: Columns, label: str) -> dict[str, Values]:
    """The rows whose label is not missing."""
    return similarity.select(table, np.flatnonzero(~gaps(table[label])))


def _metric(held_out: Values, real: Values) -> Literal["auc", "accuracy", "r2"]:
    """AUC for two classes, accuracy for more, R2 for numbers; whole numbers of few values are classes."""
    if real.dtype != object:
        distinct = np.unique(real.astype(np.float64))
        if len(distinct) > MAX_CLASSES or np.any(distinct != np.round(distinct)):
            return "r2"
    return "auc" if len(set(held_out.tolist())) == 2 else "accuracy"


def _tested(
    train: tuple[Floats, Values], test: tuple[Floats, Values], metric: str, categorical: NDArray[np.bool_], seed: int
) -> float:
    """The score of a model that is trained on one table and tested on another.

    Args:
        train: inputs (n, columns) and targets (n,).
        test: inputs (m, columns) and targets (m,).
        metric: which score; it also decides between regression and classification.
        categorical: (columns,) which inputs are codes of categories.
        seed: of the model.

    Returns:
        AUC, accuracy or R2 on the test rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import roc_auc_score

    if metric == "r2":
        regressor = HistGradientBoostingRegressor(categorical_features=categorical, random_state=seed)
        return float(regressor.fit(*train).score(*test))
    y, truth = train[1].astype(str), test[1].astype(str)
    if len(set(y.tolist())) == 1:  # nothing to learn: every row gets the only class
        return 0.5 if metric == "auc" else float(np.mean(truth == y[0]))
    classifier = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed).fit(train[0], y)
    if metric == "accuracy":
        return float(classifier.score(test[0], truth))
    positive = sorted(set(truth.tolist()))[1]
    chances = classifier.predict_proba(test[0])[:, classifier.classes_ == positive].sum(axis=1)
    return float(roc_auc_score(truth == positive, chances))


def _from_frames(tables: Sequence[Any]) -> Sides:
    """The sides from data frames."""
    typed = [frames.typed(frame) for frame in tables]
    names = ("real", "synthetic", "held-out" if len(tables) > 2 else None)
    return _sides([columns for columns, _ in typed], typed[0][1], names, ())


def _from_files(tables: Sequence[Any], detector: Detector | None) -> Sides:
    """The sides from paths, or lists of paths."""
    if any(map(frames.is_frame, tables)):
        raise UsageError("give all tables as DataFrames, or all as paths.")
    paths = [[str(table)] if isinstance(table, str | Path) else [str(path) for path in table] for table in tables]
    typed = read_tables(paths[0], paths[1], paths[2] if len(paths) > 2 else (), detector)
    names = (", ".join(paths[0]), ", ".join(paths[1]), ", ".join(paths[2]) if len(paths) > 2 else None)
    warnings = tuple(warning for table in typed for warning in table.warnings)
    return _sides([table.columns for table in typed], typed[0].kinds, names, warnings)


def _sides(
    tables: Sequence[Columns], kinds: Mapping[str, str], names: tuple[str, str, str | None], warnings: tuple[str, ...]
) -> Sides:
    """The columns that all tables share, and a warning about the others.

    Args:
        tables: typed columns (n,) by name: real, synthetic and, where there are any, held-out rows.
        kinds: what the real table's columns are.
        names: those of the tables, for messages.
        warnings: what was noticed when the tables were read.

    Raises:
        UsageError: the tables share no column, or a column is text in one of them and numbers in another.
        DataError: a table has no rows.
    """
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    if not shared:
        raise UsageError("the tables share no column; name the real table first, then the synthetic one.")
    for table, file in zip(tables, names, strict=False):
        if not similarity.rows_of(table):
            raise DataError("too_few_rows", "no rows to compare").within(str(file))
    for name in shared:
        if len({table[name].dtype == object for table in tables}) > 1:
            raise UsageError(f"column '{name}' is numbers in one table and text in another; give both one type.")
    absent = [name for name in dict.fromkeys(name for table in tables for name in table) if name not in shared]
    more = (f"columns that one table lacks were not compared: {', '.join(absent[:8])}",) if absent else ()
    real, synthetic, *rest = [{name: table[name] for name in shared} for table in tables]
    return Sides(real, synthetic, rest[0] if rest else None, kinds, names, (*warnings, *more))
