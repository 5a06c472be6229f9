"""The networks of all members as one torch module: every weight has a leading member axis, every layer is one baddbmm.

model/vae.py runs the trained weights with numpy; both have to compute the same.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from anomvae.model.encoder import Encoding
from anomvae.model.vae import SIGMA_FLOOR, UNIT, layer_shapes


class Network(nn.Module):
    """The VAEs of all members, trained side by side on inputs (members, batch, width + features).

    Args:
        encoding: which says what the network reads and reconstructs.
        hidden: units of the encoder's hidden layers; the decoder has the same in reverse.
        latent: dimensions of the latent.
        members: how many there are.
        rng: draws the initial weights.
    """

    def __init__(
        self, encoding: Encoding, hidden: tuple[int, ...], latent: int, members: int, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.shapes = layer_shapes(encoding, hidden, latent)
        self.weights = nn.ParameterDict()
        for name, (inputs, outputs) in self.shapes.items():
            bound = 1 / math.sqrt(inputs)
            weight = torch.empty(members, inputs, outputs).uniform_(-bound, bound, generator=rng)
            bias = torch.empty(members, 1, outputs).uniform_(-bound, bound, generator=rng)
            self.weights[f"{_key(name)}_weight"] = nn.Parameter(weight)
            self.weights[f"{_key(name)}_bias"] = nn.Parameter(bias)
        # Units of numbers, categories and "is missing" among the encoded values.
        at = encoding.offsets
        self.width = encoding.width
        features = list(enumerate(encoding.features))
        self.number_feature = torch.tensor([j for j, f in features if f.numeric], dtype=torch.long)
        self.number_unit = torch.tensor([at[j] for j, f in features if f.numeric], dtype=torch.long)
        self.categories = [(j, at[j], f.units) for j, f in features if not f.numeric]
        self.gap_unit = torch.tensor([at[j] + f.units for j, f in features if f.gaps], dtype=torch.long)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mu and logvar of q(z given x), each (members, batch, latent)."""
        state = self._hidden_layers("encoder", x)
        return self._linear("mu", state), self._linear("logvar", state).clamp(-20.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        """Means of numbers and logits of categories, then raw spreads of numbers (members, batch, outputs)."""
        return self._linear("output", self._hidden_layers("decoder", z))

    def loss(self, x: Tensor, target: Tensor, gap: Tensor, beta: float, noise: Tensor) -> Tensor:
        """The negative ELBO with a weight on the KL, as a mean over rows, summed over members.

        Args:
            x: inputs, masked and noised (members, batch, width + features).
            target: the encoded values as they are (members, batch, width).
            gap: 1 where a feature is missing (members, batch, features).
            beta: weight of the KL.
            noise: standard normal (members, batch, latent).
        """
        mu, logvar = self.posterior(x)
        out = self.decode(mu + noise * (0.5 * logvar).exp())
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(-1)
        return (self._negative_log_likelihood(out, target, gap) + beta * kl).mean(1).sum()

    def _negative_log_likelihood(self, out: Tensor, target: Tensor, gap: Tensor) -> Tensor:
        """Of each row under the decoder's outputs, up to a constant (members, batch)."""
        total = out.new_zeros(out.shape[:2])
        if len(self.number_unit):
            sigma = SIGMA_FLOOR + functional.softplus(out[..., self.width :] + UNIT)
            residual = (pick(target, self.number_unit) - pick(out[..., : self.width], self.number_unit)) / sigma
            present = 1 - pick(gap, self.number_feature)
            total = total + (present * (0.5 * residual.square() + sigma.log())).sum(-1)
        for _, at, units in self.categories:
            logits = functional.log_softmax(out[..., at : at + units], dim=-1)
            total = total - (target[..., at : at + units] * logits).sum(-1)
        if len(self.gap_unit):
            bits, logit = pick(target, self.gap_unit), pick(out, self.gap_unit)
            costs = functional.binary_cross_entropy_with_logits(logit, bits, reduction="none")
            total = total + costs.sum(-1)
        return total

    def _hidden_layers(self, path: str, state: Tensor) -> Tensor:
        for i in range(len(self.hidden)):
            state = functional.silu(self._linear(f"{path}.{i}", state))
        return state

    def _linear(self, layer: str, state: Tensor) -> Tensor:
        name = _key(layer)
        return torch.baddbmm(self.weights[f"{name}_bias"], state, self.weights[f"{name}_weight"])


def pick(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index] for a rising index without repetitions; nothing is copied where it picks all."""
    return values if len(index) == values.shape[-1] else values.index_select(-1, index)


def _key(layer: str) -> str:
    return layer.replace(".", "_")  # a ParameterDict takes no dots
