"""The fitted VAE as arrays: a numpy forward pass through all members at once.

    value path | mask bits -> hidden layers -> (mu, logvar) -> hidden layers, mirrored -> value path

The decoder reads mu, nothing is sampled. Every call runs blocks of the same shape on one BLAS thread, so
a row's numbers are the same bits whatever stands beside it (Kingma & Welling, arXiv 1312.6114).
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]
Arrays = Mapping[str, NDArray[np.float32]]

BLOCK = 256  # rows of one matrix product; the last block is padded


def layer_shapes(inputs: int, hidden: tuple[int, ...], latent: int, outputs: int) -> dict[str, tuple[int, int]]:
    """Name and shape (in, out) of every weight matrix of one member, in order of use."""
    encoder = [inputs, *hidden]
    decoder = [latent, *reversed(hidden)]
    shapes = {f"encoder.{i}": (a, b) for i, (a, b) in enumerate(pairwise(encoder))}
    shapes |= {"mu": (encoder[-1], latent), "logvar": (encoder[-1], latent)}
    shapes |= {f"decoder.{i}": (a, b) for i, (a, b) in enumerate(pairwise(decoder))}
    return shapes | {"output": (decoder[-1], outputs)}


class VAE:
    """Members of one layout, ready to run.

    Args:
        arrays: `<layer>.weight` (members, in, out), `<layer>.bias` (members, 1, out) for every layer of
            `layer_shapes`, and `sigma` (members, features): the learned standard deviation of each
            numeric feature.
        hidden: units of the encoder's hidden layers.
    """

    def __init__(self, arrays: Arrays, hidden: tuple[int, ...]) -> None:
        self.arrays, self.hidden = dict(arrays), hidden
        self.members, self.inputs, _ = arrays["encoder.0.weight"].shape if hidden else arrays["mu.weight"].shape
        self.latent = arrays["mu.weight"].shape[2]
        self.outputs = arrays["output.weight"].shape[2]

    def member(self, m: int) -> "VAE":
        """One member alone."""
        return VAE({name: array[m : m + 1] for name, array in self.arrays.items()}, self.hidden)

    def posterior(self, x: Array32) -> tuple[Array32, Array32]:
        """Mu and logvar of q(z given x), each (members, n, latent), for x of shape (n, inputs)."""
        state = self._through("encoder", np.broadcast_to(x, (self.members, *x.shape)))
        return self._linear("mu", state), np.clip(self._linear("logvar", state), -20.0, 20.0)

    def decode(self, z: Array32) -> Array32:
        """Outputs of the value path (members, n, outputs): means of numbers, logits of the rest."""
        return self._linear("output", self._through("decoder", z))

    def blocks(self, x: NDArray[np.float64]) -> Iterator[tuple[slice, Array32, Array32]]:
        """Run rows (n, inputs) block by block: yields (rows, outputs, kl (members, rows)) of each."""
        for start in range(0, len(x), BLOCK):
            rows = slice(start, min(start + BLOCK, len(x)))
            block = np.zeros((BLOCK, self.inputs), dtype=np.float32)
            block[: rows.stop - start] = x[rows]
            mu, logvar = self.posterior(block)
            count = rows.stop - start
            yield rows, self.decode(mu)[:, :count], kl_divergence(mu, logvar)[:, :count]

    def _through(self, path: str, state: Array32) -> Array32:
        for i in range(len(self.hidden)):
            state = _silu(self._linear(f"{path}.{i}", state))
        return state

    def _linear(self, layer: str, state: Array32) -> Array32:
        return np.asarray(state @ self.arrays[f"{layer}.weight"] + self.arrays[f"{layer}.bias"])


def kl_divergence(mu: Array32, logvar: Array32) -> Array32:
    """KL(q(z given x) to N(0, I)) in nats, summed over the last axis (arXiv 1312.6114, appendix B)."""
    total = np.sum(mu * mu + np.exp(logvar) - logvar - np.float32(1), axis=-1)
    return np.asarray(np.float32(0.5) * total, dtype=np.float32)


def _silu(a: Array32) -> Array32:
    return np.asarray(a / (np.float32(1) + np.exp(-np.clip(a, np.float32(-80), None))), dtype=np.float32)
