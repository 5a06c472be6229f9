"""Training: arrays in, arrays out; the only room that knows torch, which a scoring machine may lack."""

from anomvae.errors import EnvironmentFault

try:
    import torch  # noqa: F401 (asked for here, so that every way in says the same)
except ImportError as error:
    raise EnvironmentFault(
        f"training needs torch, which cannot be imported ({error}); install it with: pip install torch."
    ) from error
