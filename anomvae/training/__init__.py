"""Fits detectors and generators. The only package that needs torch, which a machine that only scores may lack."""

from anomvae.errors import EnvironmentFault

try:
    import torch  # noqa: F401 (imported here, so that every entry point reports the same error)
except ImportError as error:
    raise EnvironmentFault(
        f"training needs torch, which cannot be imported ({error}); install it with: pip install torch."
    ) from error
