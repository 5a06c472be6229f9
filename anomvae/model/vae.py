"""Runs the trained VAEs with numpy: one forward pass through all members at once.

    value path | mask bits -> hidden layers -> (mu, logvar) -> hidden layers, mirrored -> value path

The decoder ends in the value path and, for every number, a standard deviation that depends on the row. It reads mu,
nothing is sampled (Kingma & Welling, Auto-encoding variational Bayes, arXiv 1312.6114).

Rows run in float64 through padded blocks of one shape, as columns of each matrix product. So every row meets the same
kernel in the same order, and has the same bits whatever rows are beside it. Single precision does not keep this: the
kernels of common processors treat rows of one block differently (docs/decisions.md, "Scoring in float64, rows as
columns of padded blocks").
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Floats, Ints
from anomvae.model.encoder import Encoding

Arrays = Mapping[str, NDArray[np.float32]]

SIGMA_FLOOR = 0.05  # of a number's scale; one that is reconstructed better than this stops mattering
UNIT = 0.5413  # softplus of it is 1: where an untrained spread starts
BLOCK = 128  # rows of one matrix product; the last block is padded


def layer_shapes(encoding: Encoding, hidden: tuple[int, ...], latent: int) -> dict[str, tuple[int, int]]:
    """Name and shape (in, out) of every weight matrix of one member, in order of use.

    The output has one unit more for every number: its spread.

    Args:
        encoding: which says what the network reads and reconstructs.
        hidden: units of the encoder's hidden layers; the decoder has the same in reverse.
        latent: dimensions of the latent.
    """
    numbers = sum(feature.numeric for feature in encoding.features)
    inputs, outputs = encoding.width + len(encoding.features), encoding.width + numbers
    encoder = [inputs, *hidden]
    decoder = [latent, *reversed(hidden)]
    shapes = {f"encoder.{i}": (a, b) for i, (a, b) in enumerate(pairwise(encoder))}
    shapes |= {"mu": (encoder[-1], latent), "logvar": (encoder[-1], latent)}
    shapes |= {f"decoder.{i}": (a, b) for i, (a, b) in enumerate(pairwise(decoder))}
    return shapes | {"output": (decoder[-1], outputs)}


class VAE:
    """The trained networks of some members, which share one layout.

    Args:
        arrays: `<layer>.weight` (members, in, out), `<layer>.bias` (members, 1, out) for every layer of
            `layer_shapes`.
        hidden: units of the encoder's hidden layers.
    """

    def __init__(self, arrays: Arrays, hidden: tuple[int, ...]) -> None:
        self.arrays, self.hidden = dict(arrays), hidden
        self._layers = {name: array.astype(np.float64).transpose(0, 2, 1) for name, array in self.arrays.items()}
        self.members, self.inputs, _ = arrays["encoder.0.weight"].shape if hidden else arrays["mu.weight"].shape
        self.latent = arrays["mu.weight"].shape[2]
        self.outputs = arrays["output.weight"].shape[2]

    def pick(self, members: slice) -> "VAE":
        """Some of the members alone."""
        return VAE({name: array[members] for name, array in self.arrays.items()}, self.hidden)

    def posterior(self, x: Floats) -> tuple[Floats, Floats]:
        """Mu and logvar of q(z given x), each (members, latent, rows), for x of shape (inputs, rows)."""
        state = self._hidden_layers("encoder", np.broadcast_to(x, (self.members, *x.shape)))
        return self._linear("mu", state), np.clip(self._linear("logvar", state), -20.0, 20.0)

    def decode(self, z: Floats) -> Floats:
        """Outputs (members, outputs, rows) for z (members, latent, rows): means and logits, then raw spreads."""
        return self._linear("output", self._hidden_layers("decoder", z))

    def blocks(self, x: NDArray[np.float64]) -> Iterator[tuple[slice, Floats, Floats]]:
        """Run n rows (n, inputs) block by block.

        Yields:
            The slice of the rows, their outputs (members, rows, outputs) and their KL (members, rows).
        """
        for rows, block in padded(x):
            count = rows.stop - rows.start
            mu, logvar = self.posterior(block)
            outputs = self.decode(mu)[:, :, :count].transpose(0, 2, 1)
            yield rows, outputs, kl_divergence(mu, logvar)[:, :count]

    def changed_blocks(self, x: Floats, rows: Ints, units: Ints, change: Floats) -> Iterator[tuple[slice, Floats]]:
        """Run many variants of a few rows, each with a few inputs changed, block by block.

        The first layer is computed once for every row, and a variant adds what its changed inputs add there: the cost
        of a variant does not grow with the width of the table.

        Args:
            x: the rows (n, inputs).
            rows: (variants,): the row that each variant is made of.
            units: (variants, k): the inputs that it changes.
            change: (variants, k): by how much; 0 changes nothing.

        Yields:
            The slice of the variants, and the decoder's last hidden state (members, units, BLOCK); behind the last
            variant it has no meaning.
        """
        first = "encoder.0" if self.hidden else "mu"
        base = np.empty((self.members, self._layers[f"{first}.weight"].shape[1], len(x)))
        for at, block in padded(x):
            base[:, :, at] = self._linear(first, np.broadcast_to(block, (self.members, *block.shape)))[
                :, :, : at.stop - at.start
            ]
        weight = self._layers[f"{first}.weight"]
        order = np.argsort(change == 0, axis=1, kind="stable")  # what changes stands first
        units, change = np.take_along_axis(units, order, axis=1), np.take_along_axis(change, order, axis=1)
        for start in range(0, len(rows), BLOCK):
            at = slice(start, min(start + BLOCK, len(rows)))
            state = np.zeros((*base.shape[:2], BLOCK))
            state[:, :, : at.stop - start] = base[:, :, rows[at]]
            for unit, by in zip(units[at].T, change[at].T, strict=True):
                changed = np.flatnonzero(by)
                if not len(changed):
                    break
                state[:, :, changed] += weight[:, :, unit[changed]] * by[changed]
            yield at, self._decoder_state(state)

    def _decoder_state(self, state: Floats) -> Floats:
        """The decoder's last hidden state (members, units, rows), from what the first layer adds up to."""
        if self.hidden:
            state = _silu(state)
            for i in range(1, len(self.hidden)):
                state = _silu(self._linear(f"encoder.{i}", state))
            state = self._linear("mu", state)
        return self._hidden_layers("decoder", state)

    def some_outputs(self, state: Floats, units: Ints) -> Floats:
        """Some outputs of every row (members, rows, k), in one order of adding whatever rows are beside it.

        Args:
            state: the decoder's last hidden state (members, hidden, rows).
            units: (rows, k): the outputs that are asked for.
        """
        weight, bias = self._layers["output.weight"], self._layers["output.bias"]
        out = np.empty((self.members, *units.shape))
        for k, unit in enumerate(units.T):
            products = np.multiply(weight[:, unit].transpose(0, 2, 1), state, order="C")
            out[:, :, k] = products.sum(axis=1) + bias[:, unit, 0]
        return out

    def _hidden_layers(self, path: str, state: Floats) -> Floats:
        for i in range(len(self.hidden)):
            state = _silu(self._linear(f"{path}.{i}", state))
        return state

    def _linear(self, layer: str, state: Floats) -> Floats:
        out = self._layers[f"{layer}.weight"] @ state
        out += self._layers[f"{layer}.bias"]
        return np.asarray(out)


def padded(x: Floats) -> Iterator[tuple[slice, Floats]]:
    """Cut rows (n, units) into blocks of one shape.

    Yields:
        The slice of the rows, and their block (units, BLOCK), in which rows are columns; zeros fill the last one up.
    """
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        block = np.zeros((x.shape[1], BLOCK))
        block[:, : rows.stop - start] = x[rows].T
        yield rows, block


def sigma_of(spread: Floats) -> Floats:
    """Standard deviations from raw spreads, of the same shape: the floor plus a softplus."""
    shifted = spread + UNIT
    return np.asarray(SIGMA_FLOOR + np.maximum(shifted, 0.0) + np.log1p(np.exp(-np.abs(shifted))))


def kl_divergence(mu: Floats, logvar: Floats) -> Floats:
    """KL from N(0, I) to q(z given x) in nats, summed over the latent axis 1 (arXiv 1312.6114, appendix B)."""
    total = np.sum(mu * mu + np.exp(logvar) - logvar - 1.0, axis=1)
    return np.asarray(0.5 * total, dtype=np.float64)


def _silu(a: Floats) -> Floats:
    out = np.maximum(a, -80.0)
    np.exp(np.negative(out, out=out), out=out)
    out += 1.0
    return np.asarray(np.divide(a, out, out=out))
