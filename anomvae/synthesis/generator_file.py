"""The generator's share of a model file: a JSON document and tensors from a generator, and the generator from these.

`TENSORS` and the decoder's arrays name every tensor once. `store/model_file.py` reads and writes the file: it asks here
for the layout that a document needs, compares it with the file, and only then has the generator put together.
"""

from itertools import pairwise

import msgspec
import numpy as np

from anomvae.errors import ModelError
from anomvae.model.detector import RowGenerator
from anomvae.model.schema import Schema
from anomvae.store.tensors import Layout, TensorOf, Tensors
from anomvae.synthesis.decoder import Decoder, decoder_shapes
from anomvae.synthesis.dependencies import Dependency
from anomvae.synthesis.encoder import Marginal, Marginals, Quantiles
from anomvae.synthesis.generator import Generator, Mixture
from anomvae.synthesis.row_hashes import UniqueRows


class GeneratorDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model file says of its generator beside the tensors.

    `parts` are the columns of the network, `dependencies` those that follow from others. `hidden`, `latent` and
    `masked` are the units of the network's layers; `components` of the latent mixture, `knots` of all quantile
    functions together and `hashes` of training rows are sizes of tensors. `key` is the key of the hashes.
    """

    parts: tuple[Marginal, ...]
    dependencies: tuple[Dependency, ...]
    hidden: tuple[int, ...]
    latent: int
    masked: int
    components: int
    knots: int
    hashes: int
    key: int


def describe(generator: RowGenerator) -> GeneratorDocument:
    """The document of a generator."""
    assert isinstance(generator, Generator)  # noqa: S101 (the only kind there is)
    return GeneratorDocument(
        parts=generator.marginals.parts,
        dependencies=generator.dependencies,
        hidden=generator.decoder.hidden,
        latent=generator.decoder.latent,
        masked=generator.decoder.masked,
        components=len(generator.mixture.weights),
        knots=sum(len(one.value) for one in _knots_of(generator)),
        hashes=len(generator.unique_rows.hashes),
        key=generator.unique_rows.key,
    )


def parse(text: msgspec.Raw) -> GeneratorDocument:
    """The document that a model file holds as JSON.

    Raises:
        ModelError: it is not the document of a generator.
    """
    try:
        return msgspec.json.decode(text, type=GeneratorDocument)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"is not a valid anomvae model ({error}).") from error


def _knots_of(generator: Generator) -> list[Quantiles]:
    """The quantile functions of the numbers, in the order of the parts."""
    return [one for one in generator.marginals.quantiles if one is not None]


def _number_count(document: GeneratorDocument) -> int:
    return sum(part.numeric for part in document.parts)


# Every tensor beside the decoder's arrays, in the order of the file.
TENSORS: dict[str, TensorOf[GeneratorDocument, Generator]] = {
    "mixture.weights": TensorOf("F64", lambda d: (d.components,), lambda g: g.mixture.weights),
    "mixture.means": TensorOf("F64", lambda d: (d.components, d.latent), lambda g: g.mixture.means),
    "mixture.factors": TensorOf("F64", lambda d: (d.components, d.latent, d.latent), lambda g: g.mixture.factors),
    "knots.bounds": TensorOf(
        "I64",
        lambda d: (_number_count(d) + 1,),
        lambda g: np.cumsum([0, *(len(one.value) for one in _knots_of(g))]).astype(np.int64),
    ),
    "knots.rank": TensorOf(
        "F64", lambda d: (d.knots,), lambda g: np.concatenate([np.zeros(0), *(one.rank for one in _knots_of(g))])
    ),
    "knots.value": TensorOf(
        "F64", lambda d: (d.knots,), lambda g: np.concatenate([np.zeros(0), *(one.value for one in _knots_of(g))])
    ),
    "typical": TensorOf("F64", lambda d: (d.latent,), lambda g: g.typical),
    "hashes": TensorOf("U64", lambda d: (d.hashes,), lambda g: g.unique_rows.hashes),
}


def _decoder_layout(document: GeneratorDocument) -> dict[str, tuple[int, ...]]:
    """Shape of every array of the decoder."""
    width = Marginals(document.parts, ()).width
    return decoder_shapes(width, len(document.parts), document.hidden, document.latent, document.masked)


def layout(document: GeneratorDocument) -> Layout:
    """Type and shape of every tensor that a document needs.

    Raises:
        ModelError: the document is not that of a generator.
    """
    sizes = (*document.hidden, document.latent, document.components, len(document.parts))
    if min(sizes) < 1 or min(document.masked, document.knots, document.hashes, document.key) < 0:
        raise ModelError("is corrupt: its generator has a size that cannot be.")
    decoder: Layout = {name: ("F32", shape) for name, shape in _decoder_layout(document).items()}
    return decoder | {name: (tensor.dtype, tensor.shape(document)) for name, tensor in TENSORS.items()}


def tensors(generator: RowGenerator) -> Tensors:
    """Every tensor of a generator, by name."""
    assert isinstance(generator, Generator)  # noqa: S101 (the only kind there is)
    return generator.decoder.arrays | {name: tensor.of(generator) for name, tensor in TENSORS.items()}


def assemble(document: GeneratorDocument, schema: Schema, own: Tensors) -> Generator:
    """Put the generator together that a file describes.

    Args:
        document: the file's document of its generator.
        schema: what the columns are.
        own: the generator's tensors, of the types and shapes of `layout`.

    Returns:
        A generator that draws the same rows as the one that was saved.

    Raises:
        ModelError: the document, the schema and the tensors contradict each other.
    """
    _check(document, schema, own)
    bounds = own["knots.bounds"].tolist()
    knots = iter([Quantiles(own["knots.rank"][a:b], own["knots.value"][a:b]) for a, b in pairwise(bounds)])
    marginals = Marginals(document.parts, tuple(next(knots) if part.numeric else None for part in document.parts))
    arrays = {name: own[name] for name in _decoder_layout(document)}
    try:
        return Generator(
            schema=schema.with_marks(),
            marginals=marginals,
            decoder=Decoder(arrays, document.hidden, marginals.offsets()),
            mixture=Mixture(own["mixture.weights"], own["mixture.means"], own["mixture.factors"]),
            dependencies=document.dependencies,
            typical=own["typical"],
            unique_rows=UniqueRows(document.key, own["hashes"]),
        )
    except (ValueError, KeyError) as error:
        raise ModelError(f"is corrupt: its generator does not fit its schema ({error}).") from error


def _check(document: GeneratorDocument, schema: Schema, own: Tensors) -> None:
    """Refuse tensors and a document that no fit could have written."""
    bounds, rank, value = own["knots.bounds"], own["knots.rank"], own["knots.value"]
    if bounds[0] != 0 or bounds[-1] != len(rank) or np.any(np.diff(bounds) < 2):
        raise ModelError("is corrupt: its quantiles' bounds do not fit.")
    inner = np.ones(max(len(rank) - 1, 0), dtype=bool)
    inner[bounds[1:-1] - 1] = False
    if np.any(np.diff(rank)[inner] < 0) or np.any(np.diff(value)[inner] < 0) or np.any((rank < 0) | (rank > 1)):
        raise ModelError("is corrupt: its quantiles do not rise.")
    if np.any(own["mixture.weights"] < 0) or abs(own["mixture.weights"].sum() - 1) > 1e-6:
        raise ModelError("is corrupt: its latent density has weights that do not add up.")
    names = {column.name for column in schema.with_marks().modelled}
    made = [part.column for part in document.parts if part.part != "second"]
    made += [item.column for item in document.dependencies]
    tables = [item for item in document.dependencies if item.form == "table"]
    if any(not len(item.levels) == len(item.values) == len(item.counts) for item in tables):
        raise ModelError("is corrupt: a dependency of its generator is no table.")
    if any(len(part.levels) != len(part.counts) for part in document.parts):
        raise ModelError("is corrupt: a category of its generator lacks counts.")
    parents = {name for item in document.dependencies for name in item.parents}
    if sorted(made) != sorted(names) or not parents <= names:
        raise ModelError("is corrupt: its generator's columns are not those of its schema.")
