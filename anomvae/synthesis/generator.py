"""The generator: draws typed synthetic rows from a trained decoder and a density of its latent points.

Latent points come from a Gaussian mixture that was fitted to those of the training rows. From each point a row is drawn
part by part (a part is a column, or the day or the second of a date), with the decoder's noise, categories and missing
cells by chance. Rows that break a condition are never drawn: a part is drawn from the likelihood cut to what is
allowed, the probability of what is allowed becomes the row's weight, and rows are chosen by weight
(sampling-importance-resampling: Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988).
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import UsageError
from anomvae.model.arrays import Floats
from anomvae.model.conditions import Condition, Constraint, constraints_of, step_of
from anomvae.model.schema import Schema, Values, agree, as_floats, as_marks, part_key
from anomvae.synthesis.decoder import Decoder
from anomvae.synthesis.dependencies import Dependency, fill_in, move_to_parents
from anomvae.synthesis.encoder import Marginal, Marginals, Part, join_parts
from anomvae.synthesis.row_hashes import UniqueRows
from anomvae.synthesis.running_counters import RunningCounters, drawn_counters
from anomvae.synthesis.sample import (
    NumberDistribution,
    SamplingState,
    allowed_levels,
    bounds_of,
    draw_category,
    draw_gaps,
    draw_number,
)

EM_STEPS = 60
RIDGE = 1e-4  # added to every variance
EM_ROWS = 20_000  # at most; of more rows a sample is taken


class Mixture(msgspec.Struct, frozen=True):
    """A mixture of k Gaussians over latent points.

    `weights` (k,), `means` (k, latent), `factors` (k, latent, latent): lower Cholesky factors of the covariances.
    """

    weights: Floats
    means: Floats
    factors: Floats

    def sample(self, n: int, rng: np.random.Generator, temperature: float = 1.0) -> Floats:
        """Draw points.

        Args:
            n: how many.
            rng: the random stream.
            temperature: scales the standard deviation within components.

        Returns:
            Points (n, latent).
        """
        which = np.searchsorted(np.cumsum(self.weights)[:-1], rng.random(n))
        noise = temperature * rng.standard_normal((n, self.means.shape[1]))
        out = np.empty_like(noise)
        for k in range(len(self.weights)):
            rows = which == k
            out[rows] = self.means[k] + noise[rows] @ self.factors[k].T
        return out


def fit_mixture(points: Floats, components: int, rng: np.random.Generator) -> Mixture:
    """Fit a Gaussian mixture by expectation-maximisation.

    Args:
        points: (n, latent).
        components: how many Gaussians.
        rng: chooses the first centres, and the points that are used where there are very many.

    Returns:
        The mixture after `EM_STEPS` steps, or earlier where its likelihood no longer rises.
    """
    if len(points) > EM_ROWS:
        points = points[rng.choice(len(points), EM_ROWS, replace=False)]
    share = _first_shares(points, components, rng)
    before = -np.inf
    for _ in range(EM_STEPS):
        mixture = _maximise(points, share)
        share, likelihood = _expect(points, mixture)
        if likelihood - before < 1e-4:
            break
        before = likelihood
    return mixture


def _first_shares(points: Floats, components: int, rng: np.random.Generator) -> Floats:
    """Hard assignments to centres chosen far from each other (k-means++: Arthur & Vassilvitskii 2007)."""
    centres = [points[rng.integers(len(points))]]
    distance = ((points - centres[0]) ** 2).sum(axis=1)
    for _ in range(components - 1):
        total = distance.sum()
        chosen = rng.choice(len(points), p=distance / total) if total > 0 else 0
        centres.append(points[chosen])
        distance = np.minimum(distance, ((points - centres[-1]) ** 2).sum(axis=1))
    gaps = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    return np.asarray(np.eye(components)[gaps.argmin(axis=1)])


def _maximise(points: Floats, share: Floats) -> Mixture:
    """The mixture for responsibilities `share` (n, k); covariances of small components shrink to the common one."""
    d = points.shape[1]
    mass = share.sum(axis=0) + 1e-9
    means = share.T @ points / mass[:, None]
    common = np.cov(points.T, bias=True).reshape(d, d) / len(mass)
    factors = np.empty((len(mass), d, d))
    for k, centre in enumerate(means):
        away = points - centre
        scatter = (share[:, k, None] * away).T @ away + d * common
        factors[k] = np.linalg.cholesky(scatter / (mass[k] + d) + RIDGE * np.eye(d))
    return Mixture(mass / mass.sum(), means, factors)


def _expect(points: Floats, mixture: Mixture) -> tuple[Floats, float]:
    """Responsibilities (n, k) and the mean log-likelihood."""
    logs = log_densities(points, mixture)
    top = logs.max(axis=1, keepdims=True)
    relative = np.exp(logs - top)
    total = relative.sum(axis=1, keepdims=True)
    return relative / total, float((top + np.log(total)).mean())


def log_densities(points: Floats, mixture: Mixture) -> Floats:
    """Log of weight times density of every component at every point (n, k)."""
    d = points.shape[1]
    out = np.empty((len(points), len(mixture.weights)))
    for k, (centre, factor) in enumerate(zip(mixture.means, mixture.factors, strict=True)):
        away = np.linalg.solve(factor, (points - centre).T)
        scale = np.log(np.diag(factor)).sum() + 0.5 * d * np.log(2 * np.pi)
        out[:, k] = np.log(mixture.weights[k]) - 0.5 * (away**2).sum(axis=0) - scale
    return out


Columns = dict[str, Values]

BLOCK = 2048  # rows drawn together, from a random stream of their own
CANDIDATES = 4  # rows drawn for each row that a condition keeps
MAX_ROUNDS = 32  # of candidates, until the weights are worth a block of rows
MIN_LIFT = 0.05  # conditions that meet more rarely than this share of what independence would give were never seen
NEVER = "these conditions were never seen together in training."


class Generator:
    """Draws synthetic rows; it is fitted by `train.fit_generator` and never changes.

    Args:
        schema: what the columns are, with their marks (`Schema.with_marks`).
        marginals: the distribution of every column alone.
        decoder: the network that makes rows of latent points.
        mixture: the density of the latent points.
        dependencies: columns that follow from others and are computed once these are drawn.
        typical: (latent,): the latent point of the most central training row.
        unique_rows: recognises copies of the training rows that occur once.
    """

    def __init__(
        self,
        *,
        schema: Schema,
        marginals: Marginals,
        decoder: Decoder,
        mixture: Mixture,
        dependencies: tuple[Dependency, ...],
        typical: Floats,
        unique_rows: UniqueRows,
    ) -> None:
        self.schema, self.marginals, self.decoder = schema, marginals, decoder
        self.mixture, self.dependencies, self.typical = mixture, dependencies, typical
        self.unique_rows = unique_rows
        self._steps = {column.name: step_of(column) for column in schema.modelled}
        self.texts = frozenset(column.name for column in schema.modelled if column.kind == "categorical")
        self._names = [_level_values(part, part.column in self.texts) for part in marginals.parts]
        self._computed = frozenset(item.column for item in dependencies if item.form != "table")

    def rules(self) -> tuple[str, ...]:
        """Which columns follow from which others in every row, for people."""
        return tuple(item.describe() for item in self.dependencies)

    def levels(self, column: str) -> dict[str, int]:
        """Training rows of every level of a column that has levels, "" for gaps apart; empty for other columns."""
        for item in self.dependencies:
            if item.column == column and item.form == "table":
                return _added_up(item.values, item.counts)
        for part in self.marginals.parts:
            if part.column == column and part.part == "value":
                return dict(zip(part.levels, part.counts, strict=True))
        return {}

    def span(self) -> tuple[float, float]:
        """The smallest and the largest number of any column in training."""
        ends = [end for one in self.marginals.quantiles if one is not None for end in (one.value[0], one.value[-1])]
        ends += [float(v) for names in self._names if names.dtype != object for v in names if not np.isnan(v)]
        return (min(ends), max(ends)) if ends else (0.0, 1.0)

    def block(
        self, rng: np.random.Generator, constraints: Mapping[str, Constraint], temperature: float = 1.0
    ) -> Columns:
        """Draw `BLOCK` rows that meet constraints; of counters the steps.

        Args:
            rng: the random stream.
            constraints: what columns may be, by name.
            temperature: below 1 rows are more usual, above 1 more varied.

        Returns:
            Typed columns (BLOCK,) by name.

        Raises:
            UsageError: the conditions were never seen together.
        """
        if not constraints:
            return self._draw(self.mixture.sample(BLOCK, rng, temperature), {}, rng, temperature)[0]
        candidates, logs = [], []
        for _ in range(MAX_ROUNDS):
            columns, weight = self._candidates(CANDIDATES * BLOCK, constraints, rng, temperature)
            candidates.append(columns)
            logs.append(weight)
            if _effective_rows(np.concatenate(logs)) >= BLOCK:
                break
        weight = np.concatenate(logs)
        if not np.isfinite(weight.max()):
            raise UsageError(NEVER)
        chosen = _resample(weight, BLOCK, rng)
        return {name: np.concatenate([some[name] for some in candidates])[chosen] for name in candidates[0]}

    def constraints(self, conditions: Sequence[Condition]) -> dict[str, Constraint]:
        """Turn conditions (column, operator, value) into constraints on the columns that are drawn, by name.

        Raises:
            UsageError: an unknown column, or a value that it never had or cannot have.
        """
        counters = {column.name for column in drawn_counters(self.schema)}
        for name, sign, value in conditions:
            if name in counters:
                raise UsageError(f"'{name} {sign} {value}': '{name}' is a counter; its values follow the rows before.")
        levels = {name: [*self.levels(name), ""] for name in self.texts}
        return move_to_parents(constraints_of(self.schema, levels, conditions), self.dependencies, self.texts)

    def check(self, constraints: Mapping[str, Constraint], rows: int) -> None:
        """Refuse several conditions that `rows` training rows never met together.

        That is: fewer than three rows are expected to meet them (so that none is no surprise), and less than a
        twentieth of what there would be if the columns had nothing to do with each other: a single rare number is
        rare, but it is no contradiction.

        Raises:
            UsageError: they were never seen together.
        """
        if len(constraints) < 2:
            return
        rng = np.random.default_rng(0)
        together = self._chance(constraints, rng)
        apart = [self._chance({name: item}, rng) for name, item in constraints.items()]
        if together * rows < 3 and together < MIN_LIFT * np.prod(apart):
            raise UsageError(NEVER)

    def _chance(self, constraints: Mapping[str, Constraint], rng: np.random.Generator) -> float:
        """The estimated share of unconstrained rows that meet the constraints."""
        return float(np.exp(self._candidates(CANDIDATES * BLOCK, constraints, rng, 1.0)[1]).mean())

    def completed(
        self, rows: int, each: int, constraints: Mapping[str, Constraint], rng: np.random.Generator, temperature: float
    ) -> Columns:
        """Draw one row for each of many sets of constraints.

        Args:
            rows: how many sets there are, each for a row of its own.
            each: candidates drawn for a row, of which one is chosen by weight.
            constraints: by column, with one entry for each row.
            rng: the random stream.
            temperature: below 1 rows are more usual, above 1 more varied.

        Returns:
            Typed columns (rows,) by name.
        """
        spread = {name: _repeated(item, each) for name, item in constraints.items()}
        columns, weight = self._candidates(rows * each, spread, rng, temperature)
        gumbel = rng.gumbel(size=weight.shape)
        best = (np.maximum(weight, -1e9) + gumbel).reshape(rows, each).argmax(axis=1)
        return {name: values[np.arange(rows) * each + best] for name, values in columns.items()}

    def _candidates(
        self, n: int, constraints: Mapping[str, Constraint], rng: np.random.Generator, temperature: float
    ) -> tuple[Columns, Floats]:
        """Typed columns (n,) and the logs (n,) of their weights; computed columns are only known, and checked, here."""
        columns, weight = self._draw(self.mixture.sample(n, rng, temperature), constraints, rng, temperature)
        for name in self._computed & constraints.keys():
            weight = np.where(constraints[name].allows(columns[name]), weight, -np.inf)
        return columns, weight

    def sample(self, n: int, given: Mapping[str, object], *, seed: int, training_rows: int) -> Columns:
        """Draw n rows without the privacy filter; the same seed gives the same rows.

        Args:
            n: how many.
            given: columns that are fixed, with their values.
            seed: of the random streams.
            training_rows: size of the table that the generator was fitted to.

        Returns:
            Typed columns (n,) by name.

        Raises:
            UsageError: no row can have the given values.
        """
        constraints = self.constraints([Condition(name, "==", str(value)) for name, value in given.items()])
        self.check(constraints, training_rows)
        blocks = [self.block(np.random.default_rng([seed, 0, b]), constraints) for b in range(-(-n // BLOCK))]
        drawn = {c.name: np.concatenate([block[c.name] for block in blocks])[:n] for c in self.schema.modelled}
        return self.running_counters().advance(drawn)

    def running_counters(self) -> RunningCounters:
        """Adds up the drawn steps of counters, from the last training values on."""
        return RunningCounters(self.schema, {part.column: part.start for part in self.marginals.parts})

    def most_typical(self) -> Columns:
        """The most central training row as the decoder sees it (one row), without noise."""
        rng = np.random.default_rng(0)
        return self._draw(self.typical[None, :], {}, rng, 0.0)[0]

    def _draw(
        self, z: Floats, constraints: Mapping[str, Constraint], rng: np.random.Generator, temperature: float
    ) -> tuple[Columns, Floats]:
        """Rows at latent points (n, latent), and the log of their weights (n,)."""
        decoding, state = self.decoder.start(z), SamplingState(rng, temperature, np.zeros(len(z)))
        drawn: dict[tuple[str, Part], Values] = {}
        for j, part in enumerate(self.marginals.parts):
            outputs = decoding.read(j, part.units + part.gaps)
            day = as_floats(drawn[part.column, "day"]) if part.part == "second" else None
            values, x = self._draw_part(
                j, outputs, decoding.sigma(), constraint=constraints.get(part.column), day=day, state=state
            )
            drawn[part.column, part.part] = values
            decoding.condition_on(j, x)
        columns = join_parts(self.marginals, drawn)
        fill_in(self.dependencies, columns)
        for column in self.schema.modelled:
            if column.marks:
                key = part_key(column.name, "mark")
                columns[column.name], columns[key] = agree(
                    column, as_floats(columns[column.name]), as_marks(columns, column.name)
                )
        return {column.name: columns[column.name] for column in self.schema.modelled}, state.weight

    def _draw_part(
        self,
        j: int,
        outputs: Floats,
        sigma: Floats,
        *,
        constraint: Constraint | None,
        day: Floats | None,
        state: SamplingState,
    ) -> tuple[Values, Floats]:
        """Draw one part of n rows.

        Args:
            j: the index of the part.
            outputs: the network's outputs (n, units) for it.
            sigma: (n,) the standard deviation of a number, in normal units.
            constraint: what the part's column may be.
            day: (n,) the day of a date whose second is drawn, NaN where the date is missing.
            state: the random stream, the temperature and the rows' weights.

        Returns:
            Typed values (n,), and the part's units (n, units) as inputs of the masked layer.

        Raises:
            UsageError: training never had what the constraint asks for.
        """
        part, quantiles = self.marginals.parts[j], self.marginals.quantiles[j]
        n = len(outputs)
        gap = draw_gaps(part, outputs[:, part.units], constraint, state) if part.gaps else np.zeros(n, dtype=bool)
        if constraint is not None and constraint.missing and not part.gaps and part.part != "second":
            raise UsageError(f"column '{part.column}' never was empty in training.")
        if constraint is not None and part.part != "second":
            _check_range(part, constraint)
        bounds = bounds_of(part, constraint, None if day is None else np.where(np.isnan(day), 0.0, day))
        x = np.zeros((n, part.units + part.gaps))
        if quantiles is not None:
            step = self._steps[part.column] if part.part == "value" else 1.0 if part.digits == 0 else 1e-6
            number = NumberDistribution(quantiles, part.digits, step)
            numbers, x[:, 0] = draw_number(number, outputs[:, 0], sigma, bounds, state)
            values: Values = np.where(gap, np.nan, numbers)
        else:
            allowed = allowed_levels(part, constraint, bounds)
            level, x[:, : part.units] = draw_category(part, outputs[:, : part.units], allowed, state)
            values = self._names[j][np.where(gap, len(part.levels), level)]
        x[gap, : part.units] = 0.0
        if part.gaps:
            x[:, part.units] = gap
        return values, x


def _added_up(values: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    """The sum of the counts of every value but ""."""
    total: dict[str, int] = {}
    for value, count in zip(values, counts, strict=True):
        if value:
            total[value] = total.get(value, 0) + count
    return total


def _check_range(part: Marginal, constraint: Constraint) -> None:
    """Refuse a constraint that no value of the training range can meet."""
    inside = (constraint.low <= part.high) & (constraint.high >= part.low)
    free = np.zeros(1, dtype=bool) if constraint.free is None else constraint.free
    if not constraint.texts and not constraint.missing and not (inside.any(axis=1) | free).all():
        raise UsageError(f"column '{part.column}' never was in that range in training.")


def _level_values(part: Marginal, text: bool) -> Values:
    """The typed value of every level, then that of a gap."""
    if text:
        return np.array([*part.levels, ""], dtype=object)
    return np.array([*(float(level) for level in part.levels), np.nan])


def _effective_rows(logs: Floats) -> float:
    """How many equally weighted rows these are worth (effective sample size: Kish 1965)."""
    if not np.isfinite(logs.max()):
        return 0.0
    weight = np.exp(logs - logs.max())
    return float(weight.sum() ** 2 / (weight**2).sum())


def _resample(logs: Floats, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose n rows by weight, as evenly as can be (systematic resampling), in random order."""
    weight = np.exp(logs - logs.max())
    points = (np.arange(n) + rng.random()) / n
    total = np.cumsum(weight) / weight.sum()
    return rng.permutation(np.minimum(np.searchsorted(total, points), len(logs) - 1))


def _repeated(item: Constraint, each: int) -> Constraint:
    """A constraint with one entry for each row, as one with an entry for each of the row's candidates."""
    return Constraint(
        low=np.repeat(item.low, each, axis=0),
        high=np.repeat(item.high, each, axis=0),
        texts=tuple(texts for texts in item.texts for _ in range(each)),
        free=None if item.free is None else np.repeat(item.free, each),
    )
