"""anomvae: which rows of an arriving table are not normal, why, and how often that answer will be wrong.

One sign everywhere: a higher score is a more anomalous row. Public names are loaded on first use, so
that importing the package costs nothing and only training ever pays for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anomvae.errors import AnomvaeError
from anomvae.quality import quality

if TYPE_CHECKING:
    from anomvae.commands.fit import fit
    from anomvae.estimator import AnomVAE
    from anomvae.model.detector import Detector
    from anomvae.scoring.file import score
    from anomvae.store.model_file import load
    from anomvae.synthesis import generate

__version__ = "0.1.0"
__all__ = ["AnomVAE", "AnomvaeError", "Detector", "__version__", "fit", "generate", "load", "quality", "score"]

_HOMES = {
    "AnomVAE": "anomvae.estimator",
    "Detector": "anomvae.model.detector",
    "fit": "anomvae.commands.fit",
    "generate": "anomvae.synthesis",
    "load": "anomvae.store.model_file",
    "score": "anomvae.scoring.file",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomvae' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
