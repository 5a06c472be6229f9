"""One `.anomvae` file: safetensors with a JSON document in its metadata; never pickle.

Everything is checked before anything is allocated: sizes against the file, every tensor's name, type and
shape against what the document's architecture needs, and that all numbers are finite. Nothing in the file is
ever run, and no training row is inside: the calibration scores and the names of categories are.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae import disk
from anomvae.errors import DataError, ModelError
from anomvae.model.calibration import Calibration, Tail
from anomvae.model.density import Density, term_count
from anomvae.model.detector import VIEWS, About, Detector, Terms
from anomvae.model.drift import fits
from anomvae.model.encoding import Encoding
from anomvae.model.schema import Schema
from anomvae.model.scoring import Scorer
from anomvae.model.vae import VAE, layer_shapes
from anomvae.storage.tensors import MAX_HEADER, header_of, read

Tensors = dict[str, NDArray[Any]]
Layout = dict[str, tuple[str, tuple[int, ...]]]

FORMAT = 4  # 1 to 3 had another score
KEY = "anomvae"
GENERATOR = "gen."  # where its tensors' names begin
NONE = msgspec.Raw(b"null")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON part of a model file; `generator` is read only where rows are to be made (generator_file.py)."""

    format: int
    about: About
    schema: Schema
    encoding: Encoding
    hidden: tuple[int, ...]
    latent: int
    members: int
    components: int
    knots: int
    rows: int
    alpha: float
    effective: float
    tail_start: float
    tail_share: float
    tail_scale: float
    tail_shape: float
    generator: msgspec.Raw = NONE


def save(detector: Detector, path: Path) -> str:
    """Write a detector to a file, whole or not at all; returns its model_id (sha256 of the file).

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    tensors = _tensors(detector)
    document = msgspec.json.encode(_document(detector, tensors)).decode()
    data = to_bytes(tensors, metadata={KEY: document})
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise DataError("schema_too_large", "the categories' names do not fit a model file; drop columns")
    with disk.replacing(path) as file:
        file.write(data)
    detector.model_id = hashlib.sha256(data).hexdigest()
    return detector.model_id


def load(path: str | Path, *, generator: bool = True) -> Detector:
    """Read a detector from a file, without torch and without running anything that is in it.

    Args:
        path: the file.
        generator: whether to read its generator too, if it has one; scoring does without.

    Raises:
        ModelError: the file is missing, no model, truncated, of a newer format, or inconsistent.
    """
    data = read(Path(path))
    try:
        return opened(data, generator=generator)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def opened(data: bytes, *, generator: bool = True) -> Detector:
    """As `load`, of a file's bytes."""
    from safetensors.numpy import load as from_bytes

    header = header_of(data)
    document = parse(header)
    if not generator:
        document = msgspec.structs.replace(document, generator=NONE)
        header = {name: entry for name, entry in header.items() if not name.startswith(GENERATOR)}
    _check_layout(header, _layout(document))
    tensors = {name: tensor for name, tensor in from_bytes(data).items() if name in header}
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError("holds numbers that are not finite; make the model again with 'anomvae fit'.")
    if document.about.reference and not fits(document.about.reference, document.encoding):
        raise ModelError("is corrupt: what it compares files with is not of its columns.")
    detector = _assemble(document, tensors)
    detector.model_id = hashlib.sha256(data).hexdigest()
    return detector


def parse(header: dict[str, Any]) -> Document:
    """What the file says of itself."""
    try:
        text = header["__metadata__"][KEY]
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise ModelError(f"has format {version}, this anomvae reads format {FORMAT}; upgrade anomvae.")
        if isinstance(version, int) and version < FORMAT:
            raise ModelError(f"has format {version}, an older score's; make it again with 'anomvae fit'.")
        return msgspec.json.decode(text, type=Document)
    except (KeyError, TypeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"is not a valid anomvae model ({error}).") from error


def _check_layout(header: dict[str, Any], layout: Layout) -> None:
    found = {key: (entry["dtype"], tuple(entry["shape"])) for key, entry in header.items() if key != "__metadata__"}
    if found != layout:
        wrong = sorted(set(found.items()) ^ set(layout.items()))[0][0]
        raise ModelError(f"is corrupt: tensor '{wrong}' is not what its description needs.")


def _layout(document: Document) -> Layout:
    """Type and shape of every tensor that this document needs."""
    width, features = document.encoding.width, len(document.encoding.features)
    columns, members = len(document.encoding.columns), document.members
    tails = 2 * columns + len(VIEWS) + 1
    shapes = layer_shapes(document.encoding, document.hidden, document.latent)
    made: Layout = {}
    if document.generator != NONE:
        from anomvae.synthesis import generator_file

        made = generator_file.layout(generator_file.parse(document.generator))
    layout: Layout = {f"net.{k}.weight": ("F32", (members, *shape)) for k, shape in shapes.items()}
    layout |= {f"net.{k}.bias": ("F32", (members, 1, shape[1])) for k, shape in shapes.items()}
    return (
        layout
        | made
        | {
            "seen": ("U8", (members, width)),
            "novelty": ("F64", (features,)),
            "intervals": ("F64", (features, 2)),
            "density.weight": ("F32", (members, document.components, term_count(document.encoding))),
            "density.bias": ("F32", (members, document.components, 1)),
            "terms.kl": ("F64", (2,)),
            "terms.firsts": ("F64", (2, features)),
            "terms.followed": ("F64", (columns,)),
            "terms.levels": ("F64", (4,)),
            "tails.bounds": ("I64", (tails + 1,)),
            "tails.knots": ("F64", (document.knots,)),
            "tails.nats": ("F64", (document.knots,)),
            "tails.scale": ("F64", (tails,)),
            "tails.shape": ("F64", (tails,)),
            "tails.limit": ("F64", (tails,)),
            "tails.growth": ("F64", (tails,)),
            "calibration.scores": ("F64", (document.rows,)),
        }
    )


def _tensors(detector: Detector) -> Tensors:
    scorer, terms = detector.scorer, detector.terms
    tails = [*terms.columns, *terms.views, *terms.masked, terms.told]
    made: Tensors = {}
    if detector.generator:
        from anomvae.synthesis import generator_file

        made = generator_file.tensors(detector.generator)
    return (
        {f"net.{name}": array for name, array in scorer.vae.arrays.items()}
        | made
        | {
            "seen": scorer.seen.astype(np.uint8),
            "novelty": scorer.novelty,
            "intervals": detector.intervals,
            "density.weight": scorer.density.weight,
            "density.bias": scorer.density.bias,
            "terms.kl": terms.kl,
            "terms.firsts": terms.firsts,
            "terms.followed": terms.followed,
            "terms.levels": np.array([terms.usual, terms.lift, terms.certain, terms.plain]),
            "tails.bounds": np.cumsum([0, *(len(tail.knots) for tail in tails)]).astype(np.int64),
            "tails.knots": np.concatenate([tail.knots for tail in tails]),
            "tails.nats": np.concatenate([tail.nats for tail in tails]),
            "tails.scale": np.array([tail.scale for tail in tails]),
            "tails.shape": np.array([tail.shape for tail in tails]),
            "tails.limit": np.array([tail.limit for tail in tails]),
            "tails.growth": np.array([tail.growth for tail in tails]),
            "calibration.scores": detector.calibration.scores,
        }
    )


def _document(detector: Detector, tensors: Tensors) -> Document:
    calibration, vae = detector.calibration, detector.scorer.vae
    if detector.about is None:
        raise ModelError("a detector without lineage cannot be saved; fit it from files.")
    return Document(
        format=FORMAT,
        about=detector.about,
        schema=detector.schema,
        encoding=detector.scorer.encoding,
        hidden=vae.hidden,
        latent=vae.latent,
        members=vae.members,
        components=detector.scorer.density.weight.shape[1],
        knots=len(tensors["tails.knots"]),
        rows=len(calibration.scores),
        alpha=calibration.alpha,
        effective=calibration.effective,
        tail_start=calibration.tail_start,
        tail_share=calibration.tail_share,
        tail_scale=calibration.tail_scale,
        tail_shape=calibration.tail_shape,
        generator=_described(detector),
    )


def _described(detector: Detector) -> msgspec.Raw:
    if detector.generator is None:
        return NONE
    from anomvae.synthesis import generator_file

    return msgspec.Raw(msgspec.json.encode(generator_file.describe(detector.generator)))


def _assemble(document: Document, tensors: Tensors) -> Detector:
    vae = VAE({k[4:]: v for k, v in tensors.items() if k.startswith("net.")}, document.hidden)
    density = Density(tensors["density.weight"], tensors["density.bias"])
    scorer = Scorer(document.encoding, vae, density, tensors["seen"] != 0, tensors["novelty"])
    terms = _terms(document, tensors)
    calibration = Calibration(
        tensors["calibration.scores"],
        document.effective,
        document.tail_start,
        document.tail_share,
        document.tail_scale,
        document.tail_shape,
        document.alpha,
    )
    detector = Detector(document.schema, scorer, terms, calibration, document.about)
    detector.intervals = tensors["intervals"]
    if document.generator != NONE:
        from anomvae.synthesis import generator_file

        detector.generator = generator_file.assemble(generator_file.parse(document.generator), document.schema, tensors)
    return detector


def _terms(document: Document, tensors: Tensors) -> Terms:
    tails, columns = _tails(tensors), len(document.encoding.columns)
    masked = columns + len(VIEWS)
    usual, lift, certain, plain = tensors["terms.levels"].tolist()
    return Terms(
        kl=tensors["terms.kl"],
        columns=tuple(tails[:columns]),
        views=tuple(tails[columns:masked]),
        firsts=tensors["terms.firsts"],
        masked=tuple(tails[masked:-1]),
        followed=tensors["terms.followed"],
        told=tails[-1],
        usual=usual,
        lift=lift,
        certain=certain,
        plain=plain,
    )


def _tails(tensors: Tensors) -> list[Tail]:
    bounds, knots, nats = tensors["tails.bounds"], tensors["tails.knots"], tensors["tails.nats"]
    if bounds[0] != 0 or bounds[-1] != len(knots) or np.any(np.diff(bounds) < 1):
        raise ModelError("is corrupt: the tails' bounds do not fit.")
    numbers = zip(*(tensors[f"tails.{name}"].tolist() for name in ("scale", "shape", "limit", "growth")), strict=True)
    return [Tail(knots[a:b], nats[a:b], *of) for a, b, of in zip(bounds, bounds[1:], numbers, strict=False)]


def writable_by_others(path: Path) -> bool:
    """Whether another user may replace the model: then its verdicts are theirs."""
    modes = [place.stat().st_mode for place in (path, path.absolute().parent)]
    return any(mode & 0o022 and not mode & 0o1000 for mode in modes)
