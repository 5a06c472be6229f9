"""Training of the generating network (torch): encoded rows in, the decoder's arrays and the rows' posteriors out.

Unlike the detector's networks it reads rows in standard normal units, and its weights are averaged over the steps; its
beta is 1. A number that recurs in training is an interval of ranks and its likelihood the normal mass of that interval,
so that ties cost the network nothing; any other number is a Gaussian with a learned sigma (docs/decisions.md,
"Ties are intervals of ranks").
"""

import math
import time
from collections.abc import Callable

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from anomvae.errors import DataError
from anomvae.model.likelihood import WIDE
from anomvae.synthesis.decoder import SIGMA_FLOOR, decoder_shapes, degrees
from anomvae.synthesis.encoder import EncodedRows, Marginals
from anomvae.training.trainer import DECAY, AdamW

BATCH, WIDE_BATCH = 256, 128  # rows of a step; of a wide table fewer
RATE = 2e-3
WARM_UP = 0.3  # share of the steps over which beta rises
AVERAGE = 0.995  # of the weights, every fifth step
CHUNK = 4096  # rows whose intervals are computed at a time
INTERVALS = ("low", "high", "tied", "present")  # buffers (n, numbers) that the loss needs and nothing else


class GeneratorRecipe(msgspec.Struct, frozen=True):
    """What to train: units of the layers (`masked`: those of the masked layer), steps, seed and device.

    `seconds` ends training early, None never.
    """

    hidden: tuple[int, ...]
    latent: int
    masked: int
    steps: int
    seed: int
    device: str
    seconds: float | None = None


class TrainedGenerator(msgspec.Struct, frozen=True):
    """`arrays` for `decoder.Decoder`; `mu`, `sigma` (n, latent): posteriors of the training rows; `steps` made."""

    arrays: dict[str, NDArray[np.float32]]
    mu: NDArray[np.float32]
    sigma: NDArray[np.float32]
    steps: int


def train_network(
    marginals: Marginals,
    rows: Callable[[], EncodedRows],
    recipe: GeneratorRecipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainedGenerator:
    """Train the network.

    Args:
        marginals: the layout of an encoded row.
        rows: makes the encoded training rows (n); a function, so that no caller keeps them in memory beside the
            network's own copy.
        recipe: what to train.
        progress: called with steps made and steps planned.

    Returns:
        The averaged weights, and the posteriors of the training rows under them.

    Raises:
        DataError: `training_diverged` when the loss is no longer a number.
    """
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(recipe.seed)
    network = GeneratorNetwork(marginals, rows(), recipe, rng).to(recipe.device)
    average = [parameter.detach().clone() for parameter in network.parameters()]
    done = _run(network, average, recipe, rng, progress)
    for name in INTERVALS:  # as large as the rows, and no longer needed
        delattr(network, name)
    with torch.no_grad():
        for parameter, mean in zip(network.parameters(), average, strict=True):
            parameter.copy_(mean)
        mu, logvar = network.posterior(network.x)
    arrays = {name: array.detach().cpu().float().numpy().copy() for name, array in network.arrays().items()}
    return TrainedGenerator(arrays, mu.cpu().numpy(), (0.5 * logvar).exp().cpu().numpy(), done)


def _run(
    network: "GeneratorNetwork", average: list[Tensor], recipe: GeneratorRecipe, rng: torch.Generator,
    progress: Callable[[int, int], None],
) -> int:  # fmt: skip
    """Run the steps of the optimiser and keep the average of the weights; returns how many steps were made."""
    parameters = list(network.parameters())
    take_step = _optimiser(network, parameters, recipe)
    started = time.monotonic()
    batch = WIDE_BATCH if network.wide else BATCH
    for step in range(recipe.steps):
        index = torch.randint(len(network.x), (batch,), generator=rng).to(recipe.device)
        noise = torch.randn((batch, recipe.latent), generator=rng).to(recipe.device)
        loss = network.loss(index, noise, min(1.0, (step + 1) / (WARM_UP * recipe.steps)))
        take_step(loss, step)
        if step % 5 == 4 or step == recipe.steps - 1:
            keep = min(AVERAGE, (step + 1) / (step + 50))  # the first weights are soon forgotten
            torch._foreach_mul_(average, keep)
            torch._foreach_add_(average, [p.detach() for p in parameters], alpha=1 - keep)
        if step % 50 == 0 or step == recipe.steps - 1:
            if not math.isfinite(loss.item()):
                raise DataError("training_diverged", f"the generator's training diverged at step {step}")
            progress(step + 1, recipe.steps)
            if recipe.seconds and time.monotonic() - started > recipe.seconds:
                return step + 1
    return recipe.steps


def _optimiser(
    network: "GeneratorNetwork", parameters: list[nn.Parameter], recipe: GeneratorRecipe
) -> Callable[[Tensor, int], None]:
    """What takes one step down the gradient of a loss, given how many were taken before.

    The optimiser of training/trainer.py takes the same steps as torch's but for the last bit of a weight: torch's fused
    kernel rounds in another order. With it a seed would give a table that is not wide other synthetic rows than before;
    a wide one is spared the second of CPU that torch's takes to be imported.
    """
    if network.wide:
        own = AdamW(network)
        return lambda loss, step: own.step(loss, rate=RATE * (1 + math.cos(math.pi * step / recipe.steps)) / 2)
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY, fused=recipe.device != "mps")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)

    def take_step(loss: Tensor, step: int) -> None:
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()

    return take_step


class GeneratorNetwork(nn.Module):
    """Encoder, decoder and masked layer of the generator, and the training rows as tensors.

    `x` (n, width) are the rows. `low`, `high` (n, numbers) are the intervals of their numbers in normal units, `tied`
    marks those wide enough to be integrated, `present` the numbers that are not missing. The other buffers are masks of
    0 and 1: `sees` (width, masked) and `shows` (masked, width) for the masked layer's inputs and outputs, `earlier`
    (width, width) for what a part may read of the parts before it, `spreads` (masked, parts) for sigma, and `belongs`
    (levels, categories) for the category of a level.
    """

    x: Tensor
    low: Tensor
    high: Tensor
    tied: Tensor
    present: Tensor
    sees: Tensor
    shows: Tensor
    spreads: Tensor
    earlier: Tensor
    belongs: Tensor

    def __init__(self, marginals: Marginals, rows: EncodedRows, recipe: GeneratorRecipe, rng: torch.Generator) -> None:
        super().__init__()
        self.hidden = recipe.hidden
        width, parts = marginals.width, len(marginals.parts)
        self.wide = parts >= WIDE
        shapes = dict(decoder_shapes(width, parts, recipe.hidden, recipe.latent, recipe.masked))
        inputs = width
        for i, units in enumerate(recipe.hidden):
            shapes |= {f"encoder.{i}.weight": (inputs, units), f"encoder.{i}.bias": (units,)}
            inputs = units
        for name in ("mu", "logvar"):
            shapes |= {f"{name}.weight": (inputs, recipe.latent), f"{name}.bias": (recipe.latent,)}
        self.weights = nn.ParameterDict()
        for name, shape in sorted(shapes.items()):
            bound = (
                0.0
                if name in ("masked.output", "masked.spread", "masked.direct", "sigma")
                else 1 / math.sqrt(max(shape[0], 1))
            )
            start = torch.empty(shape).uniform_(-1.0, 1.0, generator=rng) * bound
            self.weights[name.replace(".", "_")] = nn.Parameter(start)
        self._make_masks(marginals, recipe.masked)
        self._store_rows(rows)

    def _make_masks(self, marginals: Marginals, masked: int) -> None:
        """The masks, and the units of numbers, levels and gaps."""
        parts, at = list(enumerate(marginals.parts)), marginals.offsets()
        owner = torch.repeat_interleave(
            torch.arange(len(parts)), torch.tensor([part.units + part.gaps for _, part in parts])
        )
        degree = torch.from_numpy(degrees(masked, len(parts)))
        self.register_buffer("sees", (owner[:, None] < degree[None, :]).float())
        self.register_buffer("shows", (degree[:, None] <= owner[None, :]).float())
        self.register_buffer("earlier", (owner[:, None] < owner[None, :]).float()[:, : len(owner) if masked else 0])
        self.register_buffer("spreads", (degree[:, None] <= torch.arange(len(parts))[None, :]).float())
        self.numbers = torch.tensor([j for j, part in parts if part.numeric], dtype=torch.long)
        self.number_units = torch.tensor([at[j] for j, part in parts if part.numeric], dtype=torch.long)
        categories = [(at[j], part.units) for j, part in parts if not part.numeric]
        units = [range(start, start + count) for start, count in categories]
        self.level_units = torch.tensor([unit for run in units for unit in run], dtype=torch.long)
        belongs = torch.tensor([k for k, run in enumerate(units) for _ in run], dtype=torch.long)
        self.register_buffer("belongs", functional.one_hot(belongs, len(units)).float() if units else torch.zeros(0, 0))
        self.gap_units = torch.tensor([at[j] + part.units for j, part in parts if part.gaps], dtype=torch.long)

    def _store_rows(self, rows: EncodedRows) -> None:
        """The rows as tensors, a chunk at a time."""
        n, numbers = len(rows.x), self.numbers.numpy()
        self.register_buffer("x", torch.from_numpy(rows.x).float())
        for name in INTERVALS:
            kind = torch.bool if name == "tied" else torch.float
            self.register_buffer(name, torch.empty((n, len(numbers)), dtype=kind))
        for at in range(0, n, CHUNK):
            chunk = slice(at, at + CHUNK)
            low, high = rows.low[chunk][:, numbers], rows.high[chunk][:, numbers]
            self.low[chunk] = torch.special.ndtri(torch.from_numpy(low)).float().clamp(-30, 30)
            self.high[chunk] = torch.special.ndtri(torch.from_numpy(high)).float().clamp(-30, 30)
            self.tied[chunk] = torch.from_numpy(high - low > 2.5 / n)
            self.present[chunk] = torch.from_numpy(~rows.gap[chunk][:, numbers]).float()

    def loss(self, index: Tensor, noise: Tensor, beta: float) -> Tensor:
        """The loss of one step.

        Args:
            index: (batch,) rows.
            noise: (batch, latent) standard normal.
            beta: the weight of the KL divergence.

        Returns:
            The negative ELBO in nats, its mean over the rows.
        """
        x = self.x[index]
        mu, logvar = self.posterior(x)
        out, spread = self.decode(mu + noise * (0.5 * logvar).exp(), x)
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(-1)
        return (self._negative_log_likelihood(out, spread, x, index) + beta * kl).mean()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the variance (batch, latent) of the posteriors of rows x (batch, width)."""
        for i in range(len(self.hidden)):
            x = functional.silu(self._linear(f"encoder_{i}", x))
        return self._linear("mu", x), self._linear("logvar", x).clamp(-12.0, 6.0)

    def decode(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (batch, width) and logs of sigma (batch, parts) of every part, given the parts of x before it."""
        for i in range(len(self.hidden)):
            z = functional.silu(self._linear(f"decoder_{i}", z))
        out, spread = self._linear("output", z), self.weights["sigma"].expand(len(z), -1)
        if not len(self.weights["masked_bias"]):
            return out, spread
        before = x @ (self.weights["masked_before"] * self.sees)
        masked = functional.silu(z @ self.weights["masked_latent"] + before + self.weights["masked_bias"])
        out = out + masked @ (self.weights["masked_output"] * self.shows)
        out = out + x @ (self.weights["masked_direct"] * self.earlier)
        return out, spread + masked @ (self.weights["masked_spread"] * self.spreads)

    def _negative_log_likelihood(self, out: Tensor, spread: Tensor, x: Tensor, index: Tensor) -> Tensor:
        """In nats (batch,), added up over numbers, levels and gaps."""
        total = out.new_zeros(len(out))
        if len(self.numbers):
            total = total + (self.present[index] * self._numbers(out, spread, x, index)).sum(-1)
        if len(self.level_units):
            total = total + self._levels(out, x)
        if len(self.gap_units):
            bits, logits = x[:, self.gap_units], out[:, self.gap_units]
            total = total + functional.binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(-1)
        return total

    def _numbers(self, out: Tensor, spread: Tensor, x: Tensor, index: Tensor) -> Tensor:
        """-log of a Gaussian density, or of the normal mass of a tied value's interval (batch, numbers)."""
        mean = out[:, self.number_units]
        sigma = SIGMA_FLOOR + spread[:, self.numbers].clamp(-20.0, 5.0).exp()
        density = 0.5 * ((x[:, self.number_units] - mean) / sigma).square() + sigma.log()
        tied = self.tied[index]
        if not tied.any():
            return density
        low, high = self.low[index], self.high[index]
        if not self.wide:
            return torch.where(tied, self._intervals(mean, sigma, low, high, tied), density)
        # Few values of a wide table are ties, and the normal mass is the dearest part of a step.
        at = tied.flatten().nonzero().flatten()
        mean, sigma, low, high = (values.flatten().index_select(0, at) for values in (mean, sigma, low, high))
        mass = self._intervals(mean, sigma, low, high, torch.ones_like(at, dtype=torch.bool))
        return density.flatten().index_copy(0, at, mass).view_as(density)

    @staticmethod
    def _intervals(mean: Tensor, sigma: Tensor, low: Tensor, high: Tensor, tied: Tensor) -> Tensor:
        """-log of the normal mass from `low` to `high` where `tied`, all of one shape; elsewhere without a meaning."""
        a, b = (low - mean) / sigma, (high - mean) / sigma
        left = torch.where(tied, torch.where(a + b > 0, -b, a), -torch.ones_like(a))
        right = torch.where(tied, torch.where(a + b > 0, -a, b), torch.ones_like(b))
        top, bottom = torch.special.log_ndtr(right), torch.special.log_ndtr(left)
        logs: Tensor = -(top + torch.log1p(-(bottom - top).clamp(max=-1e-5).exp()))
        return logs

    def _levels(self, out: Tensor, x: Tensor) -> Tensor:
        """-log of the softmax of every category's level, summed (batch); a gap has no level and costs nothing."""
        logits, levels = out[:, self.level_units].clamp(-40.0, 40.0), x[:, self.level_units]
        normaliser = (logits.exp() @ self.belongs).log()
        return ((levels @ self.belongs) * normaliser).sum(-1) - (levels * logits).sum(-1)

    def _linear(self, layer: str, x: Tensor) -> Tensor:
        return torch.addmm(self.weights[f"{layer}_bias"], x, self.weights[f"{layer}_weight"])

    def arrays(self) -> dict[str, Tensor]:
        """The decoder's arrays by name (see `decoder.decoder_shapes`), with the masks applied."""
        out = {
            name.replace("_", "."): weight
            for name, weight in self.weights.items()
            if not name.startswith(("encoder", "mu", "logvar"))
        }
        out["masked.before"] = out["masked.before"] * self.sees
        out["masked.output"] = out["masked.output"] * self.shows
        out["masked.direct"] = out["masked.direct"] * self.earlier
        return out | {"masked.spread": out["masked.spread"] * self.spreads}
