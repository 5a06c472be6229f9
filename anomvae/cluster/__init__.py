"""Scoring on a Ray cluster, and folders of an object store.

This is the only way in: what other packages need is named here and loaded on first use, since Ray and fsspec are
extras that few installations have.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomvae.cluster.object_store import Mirror
    from anomvae.cluster.ray import RayPool

__all__ = ["Mirror", "RayPool"]

_HOMES = {"Mirror": "anomvae.cluster.object_store", "RayPool": "anomvae.cluster.ray"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomvae.cluster' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
