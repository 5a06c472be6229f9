"""The generator's part of a model file: its description, the tensors that this needs, and back again.

Knows nothing of files. Everything that a file claims is checked here or by the layout, before it is used.
"""

from itertools import pairwise

import msgspec
import numpy as np

from anomvae.errors import ModelError
from anomvae.model.detector import RowGenerator
from anomvae.model.schema import Schema
from anomvae.model.value_formatting import Style
from anomvae.store.model_file import GENERATOR as PREFIX
from anomvae.store.model_file import Layout, Tensors
from anomvae.synthesis.decoder import Decoder, decoder_shapes
from anomvae.synthesis.dependencies import Dependency
from anomvae.synthesis.encoder import Marginal, Marginals, Quantiles
from anomvae.synthesis.generator import Generator, Mixture


class GeneratorDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON part; `knots`, `components` and `hashes` are the sizes of tensors."""

    parts: tuple[Marginal, ...]
    dependencies: tuple[Dependency, ...]
    styles: dict[str, Style]
    hidden: tuple[int, ...]
    latent: int
    masked: int
    components: int
    knots: int
    hashes: int
    key: int


def describe(generator: RowGenerator) -> GeneratorDocument:
    """The JSON part of a generator."""
    assert isinstance(generator, Generator)  # noqa: S101 (the only kind there is)
    return GeneratorDocument(
        parts=generator.marginals.parts,
        dependencies=generator.dependencies,
        styles=generator.styles,
        hidden=generator.decoder.hidden,
        latent=generator.decoder.latent,
        masked=generator.decoder.masked,
        components=len(generator.mixture.weights),
        knots=sum(len(one.value) for one in generator.marginals.quantiles if one is not None),
        hashes=len(generator.hashes),
        key=generator.key,
    )


def parse(text: msgspec.Raw) -> GeneratorDocument:
    """The JSON part, from a model file.

    Raises:
        ModelError: it is of no generator.
    """
    try:
        return msgspec.json.decode(text, type=GeneratorDocument)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"is not a valid anomvae model ({error}).") from error


def layout(document: GeneratorDocument) -> Layout:
    """Type and shape of every tensor that this description needs.

    Raises:
        ModelError: the description is of no generator.
    """
    sizes = (*document.hidden, document.latent, document.components, len(document.parts))
    if min(sizes) < 1 or min(document.masked, document.knots, document.hashes, document.key) < 0:
        raise ModelError("is corrupt: its generator has a size that cannot be.")
    width = Marginals(document.parts, ()).width
    numbers = sum(part.numeric for part in document.parts)
    k, latent = document.components, document.latent
    shapes = decoder_shapes(width, len(document.parts), document.hidden, latent, document.masked)
    return {f"{PREFIX}{name}": ("F32", shape) for name, shape in shapes.items()} | {
        f"{PREFIX}mixture.weights": ("F64", (k,)),
        f"{PREFIX}mixture.means": ("F64", (k, latent)),
        f"{PREFIX}mixture.factors": ("F64", (k, latent, latent)),
        f"{PREFIX}knots.bounds": ("I64", (numbers + 1,)),
        f"{PREFIX}knots.rank": ("F64", (document.knots,)),
        f"{PREFIX}knots.value": ("F64", (document.knots,)),
        f"{PREFIX}typical": ("F64", (latent,)),
        f"{PREFIX}hashes": ("U64", (document.hashes,)),
    }


def tensors(generator: RowGenerator) -> Tensors:
    """The tensors of a generator."""
    assert isinstance(generator, Generator)  # noqa: S101 (the only kind there is)
    knots = [one for one in generator.marginals.quantiles if one is not None]
    none = np.zeros(0)
    return {f"{PREFIX}{name}": array for name, array in generator.decoder.arrays.items()} | {
        f"{PREFIX}mixture.weights": generator.mixture.weights,
        f"{PREFIX}mixture.means": generator.mixture.means,
        f"{PREFIX}mixture.factors": generator.mixture.factors,
        f"{PREFIX}knots.bounds": np.cumsum([0, *(len(one.value) for one in knots)]).astype(np.int64),
        f"{PREFIX}knots.rank": np.concatenate([none, *(one.rank for one in knots)]),
        f"{PREFIX}knots.value": np.concatenate([none, *(one.value for one in knots)]),
        f"{PREFIX}typical": generator.typical,
        f"{PREFIX}hashes": generator.hashes,
    }


def assemble(document: GeneratorDocument, schema: Schema, found: Tensors) -> Generator:
    """The generator that a file describes.

    Raises:
        ModelError: the parts contradict each other.
    """
    own = {name.removeprefix(PREFIX): array for name, array in found.items() if name.startswith(PREFIX)}
    _check(document, schema, own)
    bounds = own["knots.bounds"].tolist()
    pieces = iter([Quantiles(own["knots.rank"][a:b], own["knots.value"][a:b]) for a, b in pairwise(bounds)])
    marginals = Marginals(document.parts, tuple(next(pieces) if part.numeric else None for part in document.parts))
    shapes = decoder_shapes(marginals.width, len(document.parts), document.hidden, document.latent, document.masked)
    try:
        return Generator(
            schema=schema,
            marginals=marginals,
            decoder=Decoder({name: own[name] for name in shapes}, document.hidden, marginals.offsets()),
            mixture=Mixture(own["mixture.weights"], own["mixture.means"], own["mixture.factors"]),
            dependencies=document.dependencies,
            typical=own["typical"],
            styles=document.styles,
            hashes=own["hashes"],
            key=document.key,
        )
    except (ValueError, KeyError) as error:
        raise ModelError(f"is corrupt: its generator does not fit its schema ({error}).") from error


def _check(document: GeneratorDocument, schema: Schema, own: Tensors) -> None:
    bounds, rank, value = own["knots.bounds"], own["knots.rank"], own["knots.value"]
    if bounds[0] != 0 or bounds[-1] != len(rank) or np.any(np.diff(bounds) < 2):
        raise ModelError("is corrupt: its quantiles' bounds do not fit.")
    inner = np.ones(max(len(rank) - 1, 0), dtype=bool)
    inner[bounds[1:-1] - 1] = False
    if np.any(np.diff(rank)[inner] < 0) or np.any(np.diff(value)[inner] < 0) or np.any((rank < 0) | (rank > 1)):
        raise ModelError("is corrupt: its quantiles do not rise.")
    if np.any(own["mixture.weights"] < 0) or abs(own["mixture.weights"].sum() - 1) > 1e-6:
        raise ModelError("is corrupt: its latent density has weights that do not add up.")
    names = {column.name for column in schema.modelled}
    made = [part.column for part in document.parts if part.part != "second"]
    made += [item.column for item in document.dependencies]
    tables = [item for item in document.dependencies if item.form == "table"]
    if any(not len(item.levels) == len(item.values) == len(item.counts) for item in tables):
        raise ModelError("is corrupt: a dependency of its generator is no table.")
    if any(len(part.levels) != len(part.counts) for part in document.parts):
        raise ModelError("is corrupt: a category of its generator lacks counts.")
    parents = {name for item in document.dependencies for name in item.parents}
    if sorted(made) != sorted(names) or not parents <= names or names - document.styles.keys():
        raise ModelError("is corrupt: its generator's columns are not those of its schema.")
