"""Trains the networks of all members: batches of masked and noised rows, AdamW, a cosine for the step size.

The recipe is that of docs/decisions.md, "Training recipe".
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

BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-8, 1e-4  # of AdamW
NOISE = 0.05  # standard deviation of the noise on numbers, in their encoded units
WARM_UP = 0.3  # share of the steps over which beta rises


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter, Decoupled weight decay regularization, 2019).

    torch's own optimisers import its compiler when they are made, a second of CPU in a fit of five; a test compares the
    steps of this one with theirs.

    Args:
        module: its parameters become views of one vector, and so do their gradients.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = list(module.parameters())
        self.flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self.gradient, self._mean, self._square = (torch.zeros_like(self.flat) for _ in range(3))
        self._steps, at = 0, 0
        for parameter in parameters:
            own = slice(at, at + parameter.numel())
            parameter.data, parameter.grad = (flat[own].view(parameter.shape) for flat in (self.flat, self.gradient))
            at = own.stop

    def step(self, loss: Tensor, rate: float) -> None:
        """Take one step of size `rate` down the gradient of `loss`."""
        self.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in BETAS)
        with torch.no_grad():
            self._mean.lerp_(self.gradient, 1 - BETAS[0])
            self._square.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
            scale = self._square.sqrt().div_(second**0.5).add_(EPSILON)
            self.flat.mul_(1 - rate * DECAY).addcdiv_(self._mean, scale, value=-rate / first)


class Recipe(msgspec.Struct, frozen=True):
    """How to train.

    `hidden`: units of the encoder's hidden layers. `latent`: dimensions of the latent. `beta`: weight of the KL at the
    end. `steps`: of training. `batch`: rows of each member in a step. `lr`: size of the first step. `device`: cpu, cuda
    or mps. `seconds`: after so many training ends early; None for no limit.
    """

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
    """What training found.

    `arrays`: weights and biases for `model.vae.VAE`. `seen` (members, width): the levels and gaps in each member's
    training rows. `steps`: how many were done.
    """

    arrays: dict[str, NDArray[np.float32]]
    seen: NDArray[np.bool_]
    steps: int


def choose_device(name: str) -> str:
    """The device of a name; `auto` is cuda or mps where there is one, else cpu.

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
        encoding: which says what the networks read and reconstruct.
        rows: encoded training rows, n of them.
        pools: (members, n): the rows that each member trains on.
        recipe: how to train.
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
    """Train until the steps are done or the time is over; returns the steps done."""
    optimiser = AdamW(network)
    started = time.monotonic()
    for step in range(recipe.steps):
        beta = recipe.beta * min(1.0, (step + 1) / (WARM_UP * recipe.steps))
        loss = network.loss(*batches.draw(), beta=beta, noise=batches.latent_noise())
        optimiser.step(loss, rate=recipe.lr * (1 + math.cos(math.pi * step / recipe.steps)) / 2)
        if step % 50 == 0 or step == recipe.steps - 1:
            if not math.isfinite(loss.item()):
                raise DataError(
                    "training_diverged",
                    f"training diverged at step {step}: the loss is {loss.item()}. "
                    "Lower --lr, or look for absurd values.",
                )
            progress(step + 1, recipe.steps)
            if recipe.seconds and time.monotonic() - started > recipe.seconds:
                return step + 1
    return recipe.steps


class _Batches:
    """Draws random rows for every member, masked and noised."""

    def __init__(
        self, encoding: Encoding, rows: Encoded, pools: NDArray[np.bool_], recipe: Recipe, rng: torch.Generator
    ) -> None:
        self.rng, self.recipe = rng, recipe
        self.x = torch.from_numpy(rows.x).float()
        self.hidden = torch.from_numpy(rows.hidden).float()
        self.gap = torch.from_numpy(rows.gap).float()
        self.hides, self.gaps = bool(rows.hidden.any()), bool(rows.gap.any())
        self.pools = [torch.from_numpy(np.flatnonzero(pool)) for pool in pools]
        widths = torch.tensor([f.units + f.gaps for f in encoding.features])
        self.unit_feature = torch.repeat_interleave(torch.arange(len(widths)), widths)
        numeric = torch.tensor([float(f.numeric) for f in encoding.features])
        first = torch.zeros(encoding.width)
        first[torch.tensor(encoding.offsets)] = 1
        self.noise_scale = NOISE * numeric[self.unit_feature] * first

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and gaps of one step, as `Network.loss` takes them, on the device."""
        size, rng = (self.recipe.batch,), self.rng
        index = torch.cat([pool[torch.randint(len(pool), size, generator=rng)] for pool in self.pools])
        target = self._rows(self.x, index)
        noise = torch.randn(target.shape, generator=rng).mul_(self.noise_scale)
        mask = self._mask(torch.Size((*target.shape[:2], self.hidden.shape[1])))
        if self.hides:
            torch.maximum(mask, self._rows(self.hidden, index), out=mask)
        visible = noise.add_(target).mul_(1 - pick(mask, self.unit_feature))
        gap = self._rows(self.gap, index) if self.gaps else self.gap[:1].expand(mask.shape)
        tensors = torch.cat([visible, mask], -1), target, gap
        return tuple(tensor.to(self.recipe.device) for tensor in tensors)  # type: ignore[return-value]

    def _rows(self, values: Tensor, index: Tensor) -> Tensor:
        """The rows of an index (members * batch,), as (members, batch, units)."""
        return values.index_select(0, index).view(len(self.pools), self.recipe.batch, -1)

    def latent_noise(self) -> Tensor:
        """Standard normal noise for the latent of one step."""
        shape = (len(self.pools), self.recipe.batch, self.recipe.latent)
        return torch.randn(shape, generator=self.rng).to(self.recipe.device)

    def _mask(self, shape: torch.Size) -> Tensor:
        """1 where a feature is hidden: in 30 % of the rows none, in 35 % one, in 35 % a random share up to a half."""
        members, batch, features = shape
        kind = torch.rand((members, batch, 1), generator=self.rng)
        share = 0.5 * torch.rand((members, batch, 1), generator=self.rng)
        mask = torch.rand(shape, generator=self.rng) < share.masked_fill_(kind <= 0.65, 0.0)  # none is below 0
        one = torch.randint(features, (members, batch, 1), generator=self.rng)
        single = (kind > 0.3) & (kind <= 0.65)
        return mask.scatter_(2, one, mask.gather(2, one) | single).float()


def _arrays(network: Network, seen: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Weights as numpy arrays; those of levels that a member never saw become 0, since they are still random."""
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
