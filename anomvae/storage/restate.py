"""Another description for a model file, in front of the same tensors."""

import hashlib
import json
from pathlib import Path

import msgspec

from anomvae import disk
from anomvae.errors import ModelError
from anomvae.model.detector import Detector
from anomvae.storage.model_file import KEY, parse
from anomvae.storage.tensors import MAX_HEADER, header_of, read


def unchanged(detector: Detector, path: Path) -> bytes:
    """The bytes of the file that a detector was loaded from.

    Raises:
        ModelError: another model has taken its place.
    """
    data = read(path)
    if hashlib.sha256(data).hexdigest() != detector.model_id:
        raise ModelError(f"{path}: was replaced in this moment; run the command again.")
    return data


def restate(detector: Detector, path: Path) -> Detector:
    """Rewrite what a model file says of itself, and its alpha; its tensors stay, byte for byte.

    Args:
        detector: what was loaded from this file, with another `about` and calibration.alpha.
        path: the file; where it is a link, what it points to.

    Returns:
        The detector with the model_id of the new file.

    Raises:
        ModelError: the file is not the one that was loaded.
        EnvironmentFault: it cannot be written; it is what it was.
    """
    data = unchanged(detector, path)
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
    with disk.replacing(path.resolve()) as file:
        file.write(data)
    return detector.with_model_id(hashlib.sha256(data).hexdigest())
