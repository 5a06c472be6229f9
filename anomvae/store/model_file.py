"""Saves a detector to one `.anomvae` file and loads it again: safetensors with a JSON document in the metadata.

Everything is checked before anything is allocated: sizes against the file, every tensor's name, type and shape against
what the document's architecture needs. Then all numbers have to be finite. Nothing in the file is ever run (it is no
pickle), and it holds no training row, though the calibration scores and the names of categories.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae import durable_io
from anomvae.errors import DataError, ModelError
from anomvae.model.anomaly_score import VIEW_COSTS, AnomalyScore, Tails, joined_tails
from anomvae.model.calibration import Calibration
from anomvae.model.detector import About, Detector
from anomvae.model.drift import matches
from anomvae.model.encoder import Encoding
from anomvae.model.likelihood import Ensemble
from anomvae.model.mixture import Density, term_count
from anomvae.model.schema import Schema
from anomvae.model.vae import VAE, layer_shapes
from anomvae.store.tensors import MAX_HEADER, Layout, TensorOf, Tensors, header_of, read

FORMAT = 6  # 1 to 3 had another score; 4 kept its settings as sentences; 5 had one format of numbers for all columns
KEY = "anomvae"
GENERATOR = "gen."  # where its tensors' names begin
NONE = msgspec.Raw(b"null")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON part of a model file, which also says what shapes its tensors have.

    `hidden`: units of the networks' hidden layers. `latent`: of the latent. `members`: of the ensemble. `components`:
    of each member's mixture. `knots`: of all tails together. `rows`: calibration rows. The fields from `alpha` to
    `tail_shape` are those of `Calibration`. `generator` is parsed only where rows are to be drawn
    (synthesis/generator_file.py).
    """

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


def save(detector: Detector, path: Path) -> Detector:
    """Write a detector to a file, whole or not at all.

    Returns:
        The detector with its model_id, the sha256 of the file.

    Raises:
        DataError: the names of the categories are too long for a model file.
        EnvironmentFault: the file cannot be written.
        ModelError: the detector has no `about`.
    """
    from safetensors.numpy import save as serialised

    tensors = _tensors(detector)
    document = msgspec.json.encode(_document(detector, tensors)).decode()
    data = serialised(tensors, metadata={KEY: document})
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise DataError("schema_too_large", "the categories' names do not fit a model file; drop columns")
    with durable_io.replacing(path) as file:
        file.write(data)
    return detector.with_model_id(hashlib.sha256(data).hexdigest())


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
        return from_bytes(data, generator=generator)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def from_bytes(data: bytes, *, generator: bool = True) -> Detector:
    """Read a detector from the bytes of a model file, as `load` does; the errors name no file."""
    from safetensors.numpy import load as read_tensors

    header = header_of(data)
    document = parse(header)
    if not generator:
        document = msgspec.structs.replace(document, generator=NONE)
        header = {name: entry for name, entry in header.items() if not name.startswith(GENERATOR)}
    _check_layout(header, _layout(document))
    tensors = {name: tensor for name, tensor in read_tensors(data).items() if name in header}
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError("holds numbers that are not finite; make the model again with 'anomvae fit'.")
    if document.about.reference and not matches(document.about.reference, document.encoding):
        raise ModelError("is corrupt: what it compares files with is not of its columns.")
    return _assemble(document, tensors, hashlib.sha256(data).hexdigest())


def parse(header: dict[str, Any]) -> Document:
    """The JSON document in a safetensors header.

    Raises:
        ModelError: there is none, or it has another format.
    """
    try:
        text = header["__metadata__"][KEY]
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise ModelError(f"has format {version}, this anomvae reads format {FORMAT}; upgrade anomvae.")
        if isinstance(version, int) and version < FORMAT:
            raise ModelError(
                f"has format {version}, this anomvae reads format {FORMAT}; make it again with 'anomvae fit'."
            )
        return msgspec.json.decode(text, type=Document)
    except (KeyError, TypeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"is not a valid anomvae model ({error}).") from error


def _check_layout(header: dict[str, Any], layout: Layout) -> None:
    """Refuse a file whose tensors have other names, types or shapes than its document needs."""
    found = {key: (entry["dtype"], tuple(entry["shape"])) for key, entry in header.items() if key != "__metadata__"}
    if found != layout:
        wrong = sorted(set(found.items()) ^ set(layout.items()))[0][0]
        raise ModelError(f"is corrupt: tensor '{wrong}' is not what its description needs.")


def _tails_of(detector: Detector) -> Tails:
    """All tails of a detector in the order of the file: columns, views, hidden columns, the largest of these."""
    rule = detector.anomaly_score
    return joined_tails([rule.columns, rule.views, rule.hidden, rule.largest_hidden])


def _tail_count(document: Document) -> int:
    return 2 * len(document.encoding.columns) + len(VIEW_COSTS) + 1


def _thresholds_of(detector: Detector) -> NDArray[np.float64]:
    """The four scores and weights at which the rule of the score changes what it does."""
    rule = detector.anomaly_score
    return np.array([rule.usual_unseen, rule.unseen_score, rule.doubtful_from, rule.hide_from])


# Every tensor beside the networks' and the generator's, in the order of the file.
TENSORS: dict[str, TensorOf[Document, Detector]] = {
    "seen": TensorOf("U8", lambda d: (d.members, d.encoding.width), lambda m: m.ensemble.seen.astype(np.uint8)),
    "novelty": TensorOf("F64", lambda d: (len(d.encoding.features),), lambda m: m.ensemble.novelty),
    "intervals": TensorOf("F64", lambda d: (len(d.encoding.features), 2), lambda m: m.intervals),
    "density.weight": TensorOf(
        "F32", lambda d: (d.members, d.components, term_count(d.encoding)), lambda m: m.ensemble.density.weight
    ),
    "density.bias": TensorOf("F32", lambda d: (d.members, d.components, 1), lambda m: m.ensemble.density.bias),
    "terms.kl": TensorOf("F64", lambda d: (2,), lambda m: m.anomaly_score.log_kl),
    "terms.firsts": TensorOf("F64", lambda d: (2, len(d.encoding.features)), lambda m: m.anomaly_score.unseen_weights),
    "terms.followed": TensorOf(
        "F64", lambda d: (len(d.encoding.columns),), lambda m: m.anomaly_score.predictable.astype(np.float64)
    ),
    "terms.levels": TensorOf("F64", lambda d: (4,), _thresholds_of),
    "tails.bounds": TensorOf("I64", lambda d: (_tail_count(d) + 1,), lambda m: _tails_of(m).bounds),
    "tails.knots": TensorOf("F64", lambda d: (d.knots,), lambda m: _tails_of(m).knots),
    "tails.nats": TensorOf("F64", lambda d: (d.knots,), lambda m: _tails_of(m).nats),
    "tails.scale": TensorOf("F64", lambda d: (_tail_count(d),), lambda m: _tails_of(m).scale),
    "tails.shape": TensorOf("F64", lambda d: (_tail_count(d),), lambda m: _tails_of(m).shape),
    "tails.limit": TensorOf("F64", lambda d: (_tail_count(d),), lambda m: _tails_of(m).limit),
    "tails.growth": TensorOf("F64", lambda d: (_tail_count(d),), lambda m: _tails_of(m).growth),
    "calibration.scores": TensorOf("F64", lambda d: (d.rows,), lambda m: m.calibration.scores),
}


def _layout(document: Document) -> Layout:
    """Type and shape of every tensor that this document needs."""
    shapes = layer_shapes(document.encoding, document.hidden, document.latent)
    layout: Layout = {f"net.{k}.weight": ("F32", (document.members, *shape)) for k, shape in shapes.items()}
    layout |= {f"net.{k}.bias": ("F32", (document.members, 1, shape[1])) for k, shape in shapes.items()}
    if document.generator != NONE:
        from anomvae.synthesis import generator_file

        own = generator_file.layout(generator_file.parse(document.generator))
        layout |= {GENERATOR + name: entry for name, entry in own.items()}
    return layout | {name: (tensor.dtype, tensor.shape(document)) for name, tensor in TENSORS.items()}


def _tensors(detector: Detector) -> Tensors:
    """Every tensor of a detector, by name."""
    tensors: Tensors = {f"net.{name}": array for name, array in detector.ensemble.vae.arrays.items()}
    if detector.generator:
        from anomvae.synthesis import generator_file

        own = generator_file.tensors(detector.generator)
        tensors |= {GENERATOR + name: tensor for name, tensor in own.items()}
    return tensors | {name: tensor.of(detector) for name, tensor in TENSORS.items()}


def _document(detector: Detector, tensors: Tensors) -> Document:
    """The JSON document of a detector, whose tensors are at hand."""
    calibration, vae = detector.calibration, detector.ensemble.vae
    if detector.about is None:
        raise ModelError("a detector without lineage cannot be saved; fit it from files.")
    generator = NONE
    if detector.generator is not None:
        from anomvae.synthesis import generator_file

        generator = msgspec.Raw(msgspec.json.encode(generator_file.describe(detector.generator)))
    return Document(
        format=FORMAT,
        about=detector.about,
        schema=detector.schema,
        encoding=detector.encoding,
        hidden=vae.hidden,
        latent=vae.latent,
        members=vae.members,
        components=detector.ensemble.density.weight.shape[1],
        knots=len(tensors["tails.knots"]),
        rows=len(calibration.scores),
        alpha=calibration.alpha,
        effective=calibration.effective,
        tail_start=calibration.tail_start,
        tail_share=calibration.tail_share,
        tail_scale=calibration.tail_scale,
        tail_shape=calibration.tail_shape,
        generator=generator,
    )


def _assemble(document: Document, tensors: Tensors, model_id: str) -> Detector:
    """The detector that a document and its checked tensors describe."""
    vae = VAE({name[4:]: array for name, array in tensors.items() if name.startswith("net.")}, document.hidden)
    density = Density(tensors["density.weight"], tensors["density.bias"])
    generator = None
    if document.generator != NONE:
        from anomvae.synthesis import generator_file

        own = {name.removeprefix(GENERATOR): t for name, t in tensors.items() if name.startswith(GENERATOR)}
        generator = generator_file.assemble(generator_file.parse(document.generator), document.schema, own)
    return Detector(
        schema=document.schema,
        ensemble=Ensemble(document.encoding, vae, density, tensors["seen"] != 0, tensors["novelty"]),
        anomaly_score=_anomaly_score(document, tensors),
        calibration=Calibration(
            scores=tensors["calibration.scores"],
            **{name: getattr(document, name) for name in Calibration.__struct_fields__ if name != "scores"},
        ),
        intervals=tensors["intervals"],
        about=document.about,
        generator=generator,
        model_id=model_id,
    )


def _anomaly_score(document: Document, tensors: Tensors) -> AnomalyScore:
    """The rule of the score, with the tails of the file divided among its fields."""
    bounds, knots = tensors["tails.bounds"], tensors["tails.knots"]
    if bounds[0] != 0 or bounds[-1] != len(knots) or np.any(np.diff(bounds) < 1):
        raise ModelError("is corrupt: the tails' bounds do not fit.")
    tails = Tails(**{name: tensors[f"tails.{name}"] for name in Tails.__struct_fields__})
    columns = len(document.encoding.columns)
    hidden = columns + len(VIEW_COSTS)
    usual_unseen, unseen_score, doubtful_from, hide_from = tensors["terms.levels"].tolist()
    return AnomalyScore(
        log_kl=tensors["terms.kl"],
        columns=tails[:columns],
        views=tails[columns:hidden],
        unseen_weights=tensors["terms.firsts"],
        hidden=tails[hidden:-1],
        predictable=tensors["terms.followed"] != 0,
        largest_hidden=tails[len(tails) - 1 :],
        usual_unseen=usual_unseen,
        unseen_score=unseen_score,
        doubtful_from=doubtful_from,
        hide_from=hide_from,
    )


def writable_by_others(path: Path) -> bool:
    """Whether another user may replace the model, and with it every verdict: its file, or an unsticky folder of it."""
    modes = [each.stat().st_mode for each in (path, path.absolute().parent)]
    return any(mode & 0o022 and not mode & 0o1000 for mode in modes)


def read_unchanged(detector: Detector, path: Path) -> bytes:
    """Read the file that a detector was loaded from once more, and make sure that it is still the same one.

    Raises:
        ModelError: the file cannot be read, or is another one by now.
    """
    data = read(path)
    if hashlib.sha256(data).hexdigest() != detector.model_id:
        raise ModelError(f"{path}: was replaced in this moment; run the command again.")
    return data


def rewrite_description(detector: Detector, path: Path) -> Detector:
    """Replace the `about` and the alpha in a model file; its tensors stay, byte for byte.

    Args:
        detector: the one that was loaded from this file, with another `about` and calibration.alpha.
        path: the file; where it is a link, the file that it points to is replaced.

    Returns:
        The detector with the model_id of the new file.

    Raises:
        ModelError: the file is not the one that was loaded.
        EnvironmentFault: it cannot be written; then it stays as it was.
    """
    data = read_unchanged(detector, path)
    header = header_of(data)
    about, alpha = detector.about, detector.calibration.alpha
    document = msgspec.structs.replace(parse(header), about=about, alpha=alpha)
    header["__metadata__"][KEY] = msgspec.json.encode(document).decode()
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    if len(text) > MAX_HEADER:
        raise ModelError(f"{path}: the history of its threshold does not fit any more; fit the model again.")
    start = 8 + int.from_bytes(data[:8], "little")
    data = len(text).to_bytes(8, "little") + text + data[start:]
    with durable_io.replacing(path.resolve()) as file:
        file.write(data)
    return detector.with_model_id(hashlib.sha256(data).hexdigest())
