"""AdamW on one flat vector that all weights are views of.

torch's own optimisers import its compiler when they are made, a second of CPU in a fit of five; a test holds this one
to their steps. Knows nothing of what it optimises.
"""

import math
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import DataError, EnvironmentFault, UsageError
from anomvae.model.encoder import Encoded, Encoding

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise EnvironmentFault(
        f"training needs torch, which cannot be imported ({error}); install it with: pip install torch."
    ) from error

from anomvae.training.network import Network, pick

BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-8, 1e-4


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101).

    Args:
        module: its parameters become views of one vector, and so do their gradients.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = list(module.parameters())
        self.flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self.gradient, self._mean, self._square = (torch.zeros_like(self.flat) for _ in range(3))
        self._steps, at = 0, 0
        for parameter in parameters:
            part = slice(at, at + parameter.numel())
            parameter.data, parameter.grad = (whole[part].view(parameter.shape) for whole in (self.flat, self.gradient))
            at = part.stop

    def step(self, loss: Tensor, rate: float) -> None:
        """One step of size `rate` down the gradient of `loss`."""
        self.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in BETAS)
        with torch.no_grad():
            self._mean.lerp_(self.gradient, 1 - BETAS[0])
            self._square.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
            scale = self._square.sqrt().div_(second**0.5).add_(EPSILON)
            self.flat.mul_(1 - rate * DECAY).addcdiv_(self._mean, scale, value=-rate / first)


NOISE = 0.05
WARM_UP = 0.3  # share of the steps over which beta rises


class Recipe(msgspec.Struct, frozen=True):
    """What to train: layout, loss weight, optimiser, and limits. `seconds` ends training early."""

    hidden: tuple[int, ...]
    latent: int
    beta: float
    steps: int
    batch: int
    lr: float
    seed: int
    device: str
    seconds: float | None = None


class Trained(msgspec.Struct, frozen=True):
    """Arrays for `model.vae.VAE`, which levels each member saw, and the steps that were done."""

    arrays: dict[str, NDArray[np.float32]]
    seen: NDArray[np.bool_]
    steps: int


def choose_device(name: str) -> str:
    """`auto` becomes cuda or mps where there is one, else cpu.

    Raises:
        UsageError: there is no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, found in there.items() if found)
    if not there[name]:
        raise UsageError(f"--device {name}: torch finds no such device here; leave it to auto, or name cpu.")
    return name


def train(
    encoding: Encoding,
    rows: Encoded,
    pools: NDArray[np.bool_],
    recipe: Recipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train the members, each on its own pool of rows.

    Args:
        encoding: the layout of the value path.
        rows: encoded training rows, n of them.
        pools: (members, n): the rows that each member trains on.
        recipe: what to train.
        progress: called with steps done and steps planned.

    Raises:
        DataError: `training_diverged` when the loss is no longer a number.
    """
    torch.set_num_threads(1)  # small matrices: more threads only wait for each other
    rng = torch.Generator().manual_seed(recipe.seed)
    network = Network(encoding, recipe.hidden, recipe.latent, len(pools), rng)
    network.to(recipe.device)
    batches = _Batches(encoding, rows, pools, recipe, rng)
    done = _run(network, batches, recipe, progress)
    seen = np.stack([(rows.x[pool] != 0).any(axis=0) for pool in pools])
    return Trained(_arrays(network, seen), seen, done)


def _run(network: Network, batches: "_Batches", recipe: Recipe, progress: Callable[[int, int], None]) -> int:
    optimiser = AdamW(network)
    started = time.monotonic()
    for step in range(recipe.steps):
        beta = recipe.beta * min(1.0, (step + 1) / (WARM_UP * recipe.steps))
        loss = network.loss(*batches.draw(), beta=beta, noise=batches.latent_noise())
        optimiser.step(loss, rate=recipe.lr * (1 + math.cos(math.pi * step / recipe.steps)) / 2)
        if step % 50 == 0 or step == recipe.steps - 1:
            _check(loss.item(), step)
            progress(step + 1, recipe.steps)
            if recipe.seconds and time.monotonic() - started > recipe.seconds:
                return step + 1
    return recipe.steps


def _check(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        message = f"training diverged at step {step}: the loss is {loss}. Lower --lr, or look for absurd values."
        raise DataError("training_diverged", message)


class _Batches:
    """Random rows for every member, masked and noised; nothing here depends on the network."""

    def __init__(
        self, encoding: Encoding, rows: Encoded, pools: NDArray[np.bool_], recipe: Recipe, rng: torch.Generator
    ) -> None:
        self.rng, self.recipe = rng, recipe
        self.x = torch.from_numpy(rows.x).float()
        self.hidden = torch.from_numpy(rows.hidden).float()
        self.gap = torch.from_numpy(rows.gap).float()
        self.pools = [torch.from_numpy(np.flatnonzero(pool)) for pool in pools]
        widths = torch.tensor([f.units + f.gaps for f in encoding.features])
        self.unit_feature = torch.repeat_interleave(torch.arange(len(widths)), widths)
        numeric = torch.tensor([float(f.numeric) for f in encoding.features])
        first = torch.zeros(encoding.width)
        first[torch.tensor(encoding.offsets)] = 1
        self.noise_scale = NOISE * numeric[self.unit_feature] * first

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Network input, clean target, and gaps of one step, on the device."""
        index = torch.cat([self._pick(pool) for pool in self.pools])
        target, hidden = self._rows(self.x, index), self._rows(self.hidden, index)
        noise = torch.randn(target.shape, generator=self.rng) * self.noise_scale
        mask = torch.maximum(self._mask(hidden.shape), hidden)
        visible = (target + noise) * (1 - pick(mask, self.unit_feature))
        parts = torch.cat([visible, mask], -1), target, self._rows(self.gap, index)
        return tuple(part.to(self.recipe.device) for part in parts)  # type: ignore[return-value]

    def _rows(self, values: Tensor, index: Tensor) -> Tensor:
        return values.index_select(0, index).view(len(self.pools), self.recipe.batch, -1)

    def latent_noise(self) -> Tensor:
        """Standard normal noise for the latent of one step."""
        shape = (len(self.pools), self.recipe.batch, self.recipe.latent)
        return torch.randn(shape, generator=self.rng).to(self.recipe.device)

    def _pick(self, pool: Tensor) -> Tensor:
        return pool[torch.randint(len(pool), (self.recipe.batch,), generator=self.rng)]

    def _mask(self, shape: torch.Size) -> Tensor:
        """1 = hidden: 30 % of the rows none, 35 % one column, 35 % a random share up to a half."""
        members, batch, features = shape
        kind = torch.rand((members, batch, 1), generator=self.rng)
        share = 0.5 * torch.rand((members, batch, 1), generator=self.rng)
        some = (torch.rand(shape, generator=self.rng) < share) & (kind > 0.65)
        one = torch.randint(features, (members, batch, 1), generator=self.rng)
        single = torch.zeros(shape, dtype=torch.bool).scatter_(2, one, True) & (kind > 0.3) & (kind <= 0.65)
        return (some | single).float()


def _arrays(network: Network, seen: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Weights as numpy; inputs that a member never saw on are cut, so that they carry no noise."""
    arrays = {
        f"{name}.{part}": network.weights[f"{name.replace('.', '_')}_{part}"].detach().cpu().numpy().copy()
        for name in network.shapes
        for part in ("weight", "bias")
    }
    first = arrays["encoder.0.weight"] if network.hidden else arrays["mu.weight"]
    categorical = np.zeros(seen.shape[1], dtype=bool)
    for _, at, units in network.categories:
        categorical[at : at + units] = True
    first[:, : seen.shape[1]][~seen & categorical] = 0.0
    return arrays
