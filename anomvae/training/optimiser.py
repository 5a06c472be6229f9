"""AdamW on one flat vector that all weights are views of.

torch's own optimisers import its compiler when they are made, a second of CPU in a fit of five; a test holds this one
to their steps. Knows nothing of what it optimises.
"""

import torch
from torch import Tensor, nn

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
