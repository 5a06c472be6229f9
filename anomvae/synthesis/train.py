"""Fits a generator to the training rows: dependencies, marginals, the network, the latent density, row hashes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import FitSettings, seconds
from anomvae.model.arrays import Floats
from anomvae.model.likelihood import WIDE
from anomvae.model.schema import Schema, Values
from anomvae.synthesis.decoder import Decoder
from anomvae.synthesis.dependencies import find_dependencies
from anomvae.synthesis.encoder import Marginals, encode, fit_marginals
from anomvae.synthesis.generator import Generator, fit_mixture
from anomvae.synthesis.row_hashes import find_unique_rows
from anomvae.synthesis.running_counters import last_values, steps_for_values

if TYPE_CHECKING:
    from anomvae.synthesis.generator_network import GeneratorRecipe


HIDDEN = (64, 64)  # units of the hidden layers
MAX_LATENT = 32  # dimensions; never more than there are parts of a row
MIN_MASKED, MAX_MASKED = 32, 256  # units of the masked layer, between them a quarter of the rows
MIN_POINTS = 4000  # latent points that the density is fitted to
MAX_COMPONENTS = 10  # Gaussians of the density, each with at least 60 rows
MEDOID_ROWS = 1000  # rows among which the most central one is sought


def fit_generator(
    schema: Schema,
    columns: Mapping[str, Values],
    settings: FitSettings,
    *,
    device: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Generator:
    """Fit a generator to the rows that the detector was trained on.

    Args:
        schema: what the columns are.
        columns: typed values by name, each of shape (n,), and the steps of counters.
        settings: seed, layout and steps; the rest of the recipe is the same for all data.
        device: where torch trains, such as "cpu".
        progress: called with steps done and planned.

    Returns:
        The generator; the same rows and settings give the same one.

    Raises:
        DataError: the training diverged.
    """
    from anomvae.synthesis.generator_network import train_network

    last, columns = last_values(schema, columns), steps_for_values(schema, columns)
    n = len(next(iter(columns.values())))
    dependencies = () if settings.plain else find_dependencies(_without_counters(schema), columns)
    schema = schema.with_marks()
    derived = frozenset(item.column for item in dependencies)
    marginals = _with_starts(fit_marginals(schema, columns, derived, discrete=not settings.plain), last)
    recipe = _recipe(settings, n, len(marginals.parts), device)
    trained = train_network(marginals, lambda: encode(schema, marginals, columns), recipe, progress)
    rng = np.random.default_rng(settings.seed)
    points = _points(trained.mu, trained.sigma, rng)
    key = int(rng.integers(1 << 63))
    return Generator(
        schema=schema,
        marginals=marginals,
        decoder=Decoder(trained.arrays, recipe.hidden, marginals.offsets()),
        mixture=fit_mixture(points, max(1, min(MAX_COMPONENTS, n // 60)), rng),
        dependencies=dependencies,
        typical=medoid(trained.mu),
        unique_rows=find_unique_rows(columns, key),
    )


def _without_counters(schema: Schema) -> Schema:
    """The schema without counters: a rule between steps is none between values."""
    return msgspec.structs.replace(schema, columns=tuple(one for one in schema.columns if one.kind != "counter"))


def _with_starts(marginals: Marginals, last: Mapping[str, float]) -> Marginals:
    """The marginals, where those of counters have the values that these go on from."""
    parts = (msgspec.structs.replace(part, start=last.get(part.column, 0.0)) for part in marginals.parts)
    return msgspec.structs.replace(marginals, parts=tuple(parts))


def _recipe(settings: FitSettings, n: int, parts: int, device: str) -> "GeneratorRecipe":
    """The recipe for n rows of so many parts; a layout that the user gives has no masked layer."""
    from anomvae.synthesis.generator_network import GeneratorRecipe

    return GeneratorRecipe(
        hidden=HIDDEN if settings.hidden is None else settings.hidden,
        latent=min(parts, MAX_LATENT) if settings.latent == "auto" else settings.latent,
        masked=0 if settings.plain else int(np.clip(n // 4, MIN_MASKED, MAX_MASKED)),
        steps=generator_steps(n, parts) if settings.steps == "auto" else settings.steps,
        seed=settings.seed,
        device=device,
        seconds=None if settings.max_time is None else seconds(settings.max_time, "--max-time"),
    )


def _points(mu: NDArray[np.floating], sigma: NDArray[np.floating], rng: np.random.Generator) -> Floats:
    """Samples (points, latent) of the rows' posteriors, equally many of each row; mu and sigma are (n, latent)."""
    points = rng.standard_normal((-(-MIN_POINTS // len(mu)), *mu.shape))
    points *= sigma  # in place, since they are as many as the rows
    points += mu
    return points.reshape(-1, mu.shape[1])


def generator_steps(n: int, parts: int = 1) -> int:
    """Training steps for n rows: 40 times their square root, from 300 to 3,000; more would copy small tables.

    A table with more than `WIDE` parts takes fewer, by the square root of these, and never below 300.
    """
    return int(np.clip(40 * n**0.5 * min(1.0, WIDE / parts) ** 0.5, 300, 3000))


def medoid(points: NDArray[np.floating]) -> Floats:
    """The point (latent,) of points (n, latent) with the least sum of distances to others, among evenly spaced ones."""
    some = points[np.unique(np.linspace(0, len(points) - 1, MEDOID_ROWS).round().astype(np.intp))].astype(np.float64)
    squares = (some**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * some @ some.T, 0.0))
    return np.asarray(some[distance.sum(axis=1).argmin()])
