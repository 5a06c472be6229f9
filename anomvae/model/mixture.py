"""A Gaussian mixture on the latent space: where training rows lie, so that sampling starts where they do.

Expectation-maximisation with full covariances (Dempster, Laird & Rubin 1977), seeded by k-means++.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = 60
RIDGE = 1e-4  # added to every variance
ROWS = 20_000  # EM sees at most so many rows


class Mixture(msgspec.Struct, frozen=True):
    """`weights` (k,), `means` (k, latent), `factors` (k, latent, latent): lower Cholesky factors."""

    weights: Floats
    means: Floats
    factors: Floats

    def sample(self, n: int, rng: np.random.Generator, temperature: float = 1.0) -> Floats:
        """Points (n, latent); `temperature` scales the spread within components."""
        which = np.searchsorted(np.cumsum(self.weights)[:-1], rng.random(n))
        noise = temperature * rng.standard_normal((n, self.means.shape[1]))
        out = np.empty_like(noise)
        for k in range(len(self.weights)):
            rows = which == k
            out[rows] = self.means[k] + noise[rows] @ self.factors[k].T
        return out


def fit_mixture(points: Floats, components: int, rng: np.random.Generator) -> Mixture:
    """Fit `components` Gaussians to points (n, latent)."""
    if len(points) > ROWS:
        points = points[rng.choice(len(points), ROWS, replace=False)]
    share = _first_shares(points, components, rng)
    before = -np.inf
    for _ in range(STEPS):
        mixture = _maximise(points, share)
        share, likelihood = _expect(points, mixture)
        if likelihood - before < 1e-4:
            break
        before = likelihood
    return mixture


def _first_shares(points: Floats, components: int, rng: np.random.Generator) -> Floats:
    """Hard assignments to centres chosen far from each other (k-means++, Arthur & Vassilvitskii 2007)."""
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
    """Weights, means and covariances; small components are drawn towards the common covariance."""
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
    parts = np.exp(logs - top)
    total = parts.sum(axis=1, keepdims=True)
    return parts / total, float((top + np.log(total)).mean())


def log_densities(points: Floats, mixture: Mixture) -> Floats:
    """Log of weight times density of every component at every point (n, k)."""
    d = points.shape[1]
    out = np.empty((len(points), len(mixture.weights)))
    for k, (centre, factor) in enumerate(zip(mixture.means, mixture.factors, strict=True)):
        away = np.linalg.solve(factor, (points - centre).T)
        scale = np.log(np.diag(factor)).sum() + 0.5 * d * np.log(2 * np.pi)
        out[:, k] = np.log(mixture.weights[k]) - 0.5 * (away**2).sum(axis=0) - scale
    return out
