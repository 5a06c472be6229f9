"""The generator's decoder in numpy: from latent points to rows, part by part, so that `generate` needs no torch.

    z -> hidden layers -> output of every part
                       -> masked layer, which also sees the parts before -> correction of every part

The masked layer (Germain et al., "MADE: masked autoencoder for distribution estimation", arXiv 1502.03509) lets a part
depend on the values drawn before it, so that sharp relations between columns survive the decoder's noise. A network of
a layout that the user gives has no masked layer (width 0).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Floats

Single = NDArray[np.float32]

SIGMA_FLOOR = 0.01  # normal units


def decoder_shapes(
    width: int, parts: int, hidden: tuple[int, ...], latent: int, masked: int
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of a decoder.

    Args:
        width: units of an encoded row.
        parts: parts of a row.
        hidden: units of the encoder's hidden layers; the decoder mirrors them.
        latent: dimensions of the latent space.
        masked: units of the masked layer; 0 for none.

    Returns:
        Shapes by name; a weight is (inputs, outputs).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = latent
    for i, units in enumerate(reversed(hidden)):
        shapes |= {f"decoder.{i}.weight": (inputs, units), f"decoder.{i}.bias": (units,)}
        inputs = units
    shapes |= {"output.weight": (inputs, width), "output.bias": (width,)}
    shapes |= {"masked.latent": (inputs, masked), "masked.bias": (masked,)}
    shapes |= {"masked.before": (width, masked), "masked.output": (masked, width)}
    shapes |= {"masked.direct": (width, width if masked else 0)}
    return shapes | {"masked.spread": (masked, parts), "sigma": (parts,)}


def degrees(masked: int, parts: int) -> NDArray[np.intp]:
    """How many parts each unit of the masked layer sees (masked,), never falling."""
    return np.asarray(np.arange(masked) * parts // max(masked, 1), dtype=np.intp)


class Decoder:
    """A decoder ready to run, in single precision.

    Args:
        arrays: as in `decoder_shapes`; weights that the masks forbid are never read.
        hidden: units of the encoder's hidden layers; the decoder mirrors them.
        offsets: first unit of every part.
    """

    def __init__(self, arrays: Mapping[str, Single], hidden: tuple[int, ...], offsets: list[int]) -> None:
        self.arrays, self.hidden, self.offsets = dict(arrays), hidden, offsets
        self.latent = (arrays["decoder.0.weight"] if hidden else arrays["output.weight"]).shape[0]
        self.masked = len(arrays["masked.bias"])
        parts = len(offsets)
        self.blocks = np.searchsorted(degrees(self.masked, parts), np.arange(parts + 1)).tolist()

    def start(self, z: Floats) -> "Decoding":
        """Begin n rows at latent points (n, latent)."""
        return Decoding(self, z.astype(np.float32))


class Decoding:
    """The state of decoding n rows.

    Parts come in order. For each, `read` gives the network's outputs, the caller draws values, and `condition_on` makes
    them inputs of the parts after it.
    """

    def __init__(self, decoder: Decoder, z: Single) -> None:
        self._decoder, arrays = decoder, decoder.arrays
        state = z
        for i in range(len(decoder.hidden)):
            state = _silu(state @ arrays[f"decoder.{i}.weight"] + arrays[f"decoder.{i}.bias"])
        self._outputs = state @ arrays["output.weight"] + arrays["output.bias"]
        self._active = state @ arrays["masked.latent"] + arrays["masked.bias"]  # sums first, activations once read
        self._drawn = np.zeros_like(self._outputs)
        self._spread = np.zeros(len(z), dtype=np.float32)

    def read(self, part: int, units: int) -> Floats:
        """Outputs (n, units) of a part: a mean or logits, then the logit of a missing cell if it can be missing."""
        decoder, arrays = self._decoder, self._decoder.arrays
        at, (start, stop) = decoder.offsets[part], decoder.blocks[part : part + 2]
        own, drawn = slice(at, at + units), self._drawn[:, :at]
        outputs, spread = self._outputs[:, own], arrays["sigma"][part]
        if stop > start:  # masked units that have now seen all they may see
            sums: Single = self._active[:, start:stop]
            sums += drawn @ arrays["masked.before"][:at, start:stop]
            sums[:] = _silu(sums)
        if decoder.masked:
            active = self._active[:, :stop]
            seen = active @ np.column_stack([arrays["masked.output"][:stop, own], arrays["masked.spread"][:stop, part]])
            outputs = outputs + seen[:, :-1] + drawn @ arrays["masked.direct"][:at, own]
            spread = spread + seen[:, -1]
        self._spread[:] = spread
        return outputs.astype(np.float64)

    def sigma(self) -> Floats:
        """Standard deviation (n,), in normal units, of the number that was read last."""
        return np.asarray(SIGMA_FLOOR + np.exp(np.clip(self._spread, -20.0, 5.0)), dtype=np.float64)

    def condition_on(self, part: int, x: Floats) -> None:
        """Let the parts after this one see its drawn units x (n, units)."""
        at = self._decoder.offsets[part]
        self._drawn[:, at : at + x.shape[1]] = x


def _silu(a: Single) -> Single:
    return np.asarray(a / (1.0 + np.exp(-np.clip(a, -80.0, None))), dtype=np.float32)
