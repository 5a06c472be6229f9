"""One member beside PyOD's VAE of the same layers: rows a CPU-second in memory, and the cost of a fit of five.

PyOD trains one network at a time, so five of its fits stand against one of ours; both see the same rows for the same
number of epochs. Its dropout is off, which helps it. The error is of rows that neither saw, in standard deviations.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pyod.models import vae as pyod

from anomvae.model.cross_fitting import assign_folds, block_ids, training_pools
from anomvae.model.encoder import encode, fit_encoding
from anomvae.model.schema import from_arrays
from anomvae.model.vae import VAE
from anomvae.training.trainer import Recipe, train

ROWS, COLUMNS, EPOCHS, BATCH, MEMBERS, LATENT = 10_000, 30, 10, 128, 5, 30
LAYERS = (64, 64)
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def measured() -> tuple[float, float, float, float]:
    """Scoring and fitting, PyOD's CPU seconds over ours; then the held-out errors, ours and PyOD's."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, COLUMNS))
    x = rng.normal(size=(2 * ROWS, 6)) @ mix + 0.3 * rng.normal(size=(2 * ROWS, COLUMNS))
    x /= x[:ROWS].std(axis=0)
    fits: list[tuple[float, float]] = []
    scores: list[tuple[float, float]] = []
    for _ in range(3):
        (ours, run), mine = seconds(lambda: _ours(x))
        theirs, alone = seconds(lambda: _theirs(x[:ROWS]))
        fits.append((mine, MEMBERS * alone))
        scores.append(
            (seconds(lambda run=run: run(x))[1], seconds(lambda theirs=theirs: theirs.decision_function(x))[1])
        )
    return (
        statistics.median(b / a for a, b in scores),
        statistics.median(b / a for a, b in fits),
        float(np.sqrt(np.mean((ours(x[ROWS:]) - x[ROWS:]) ** 2))),
        float(np.sqrt(np.mean((_rebuilt(theirs, x[ROWS:]) - x[ROWS:]) ** 2))),
    )


def seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work gives, and its CPU seconds."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def _ours(x: Numbers) -> tuple[Callable[[Numbers], Numbers], Callable[[Numbers], None]]:
    """Train on the first rows; how the first member rebuilds numbers, and one member's forward pass and KL."""

    def columns(part: Numbers) -> dict[str, Numbers]:
        return {f"x{j}": part[:, j] for j in range(COLUMNS)}

    known = columns(x[:ROWS])
    encoding = fit_encoding(from_arrays(known), known)
    rows = encode(encoding, known)
    pools = training_pools(assign_folds(block_ids(ROWS, 1), np.random.default_rng(0)), 1)
    steps = EPOCHS * int(pools[0].sum()) // BATCH
    recipe = Recipe(LAYERS, LATENT, 0.03, steps, BATCH, 4.5e-3, 0, "cpu")
    member = VAE(train(encoding, rows, pools, recipe).arrays, LAYERS).pick(slice(0, 1))

    def encoded(part: Numbers) -> Numbers:
        found = encode(encoding, columns(part))
        return np.hstack([found.x, found.hidden])

    def rebuilt(part: Numbers) -> Numbers:
        outputs = np.concatenate([out[0, :, :COLUMNS] for _, out, _ in member.blocks(encoded(part))])
        scale = np.array([(feature.center, feature.scale) for feature in encoding.features])
        return outputs * scale[:, 1] + scale[:, 0]

    return rebuilt, lambda part: [None for _ in member.blocks(encoded(part))] and None


def _theirs(x: Numbers) -> pyod.VAE:
    layers = {"encoder_neuron_list": list(LAYERS), "decoder_neuron_list": list(LAYERS), "latent_dim": LATENT}
    return pyod.VAE(epoch_num=EPOCHS, batch_size=BATCH, dropout_rate=0.0, verbose=0, preprocessing=True, **layers).fit(
        x
    )


def _rebuilt(model: pyod.VAE, x: Numbers) -> Numbers:
    """PyOD's reconstruction from the mean of the latent, in the units of x."""
    mean, spread = np.asarray(model.X_mean), np.asarray(model.X_std)
    with torch.no_grad():
        model.model.eval()
        z, _ = model.model.encode(torch.tensor((x - mean) / spread, dtype=torch.float32))
        return np.asarray(model.model.decode(z)) * spread + mean


if __name__ == "__main__":
    print(measured())
