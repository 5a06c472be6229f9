"""The members as one torch network: every weight has a leading member axis, every layer is one baddbmm."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from anomvae.model.encoder import Encoding
from anomvae.model.vae import SIGMA_FLOOR, UNIT, layer_shapes


class Network(nn.Module):
    """`members` VAEs of one layout, trained side by side.

    Inputs are (members, batch, width + features): the value path and one mask bit a feature.
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
        self._lay_out(encoding)

    def _lay_out(self, encoding: Encoding) -> None:
        """Where on the value path numbers, categories and gap bits stand."""
        at = encoding.offsets
        self.width = encoding.width
        features = list(enumerate(encoding.features))
        self.number_feature = torch.tensor([j for j, f in features if f.numeric], dtype=torch.long)
        self.number_unit = torch.tensor([at[j] for j, f in features if f.numeric], dtype=torch.long)
        self.categories = [(j, at[j], f.units) for j, f in features if not f.numeric]
        self.gap_unit = torch.tensor([at[j] + f.units for j, f in features if f.gaps], dtype=torch.long)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu, logvar (members, batch, latent)."""
        state = self._through("encoder", x)
        return self._linear("mu", state), self._linear("logvar", state).clamp(-20.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        """Value path and raw spreads (members, batch, outputs)."""
        return self._linear("output", self._through("decoder", z))

    def loss(self, x: Tensor, target: Tensor, gap: Tensor, beta: float, noise: Tensor) -> Tensor:
        """Negative ELBO with weight beta on KL, mean over rows, summed over members."""
        mu, logvar = self.posterior(x)
        out = self.decode(mu + noise * (0.5 * logvar).exp())
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(-1)
        return (self._negative_log_likelihood(out, target, gap) + beta * kl).mean(1).sum()

    def _negative_log_likelihood(self, out: Tensor, target: Tensor, gap: Tensor) -> Tensor:
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

    def _through(self, path: str, state: Tensor) -> Tensor:
        for i in range(len(self.hidden)):
            state = functional.silu(self._linear(f"{path}.{i}", state))
        return state

    def _linear(self, layer: str, state: Tensor) -> Tensor:
        name = _key(layer)
        return torch.baddbmm(self.weights[f"{name}_bias"], state, self.weights[f"{name}_weight"])


def pick(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index], where index rises; nothing is copied where it picks all."""
    return values if len(index) == values.shape[-1] else values.index_select(-1, index)


def _key(layer: str) -> str:
    return layer.replace(".", "_")  # a ParameterDict takes no dots
