"""Reads a safetensors file of unknown origin: the header is checked against the file's size before it is trusted.

Format: the length of the header (8 bytes, little endian), the header as JSON, the tensors end to end. What the tensors
have to be, model_file.py knows.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from anomvae.errors import ModelError

Tensors = dict[str, NDArray[Any]]
Layout = dict[str, tuple[str, tuple[int, ...]]]  # type and shape of every tensor
DocumentT = TypeVar("DocumentT")
OwnerT = TypeVar("OwnerT")

MAX_HEADER = 1 << 23
MAX_FILE = 1 << 31
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "I64": np.dtype("int64"),
    "U64": np.dtype("uint64"),
    "U8": np.dtype("uint8"),
}


class TensorOf(NamedTuple, Generic[DocumentT, OwnerT]):
    """One tensor of a file: its type, its shape under the file's document, and where the saved object has it."""

    dtype: str
    shape: Callable[[DocumentT], tuple[int, ...]]
    of: Callable[[OwnerT], NDArray[Any]]


def read(path: Path) -> bytes:
    """Read a file that may be a model.

    Raises:
        ModelError: it is missing, cannot be read, or is too large; the message names the file.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ModelError(f"{path}: {size:,} bytes is more than a model file may have ({MAX_FILE:,}).")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model file; make one with 'anomvae fit', or name it with -m.") from error
    except OSError as error:
        raise ModelError(f"{path}: the model file cannot be read ({error.strerror}).") from error


def header_of(data: bytes) -> dict[str, Any]:
    """Parse the header of a safetensors file, and check that its tensors cover exactly the bytes behind it.

    Raises:
        ModelError: it is no safetensors file with metadata, or is cut off; the message begins with a verb.
    """
    if data[8:9] != b"{" and (data[:2] in (b"PK", b"\x1f\x8b") or data[:1] == b"\x80"):
        raise ModelError("is a pickle or an archive, not an anomvae model; refused without opening it.")
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > MAX_HEADER or length > len(data) - 8:
        raise ModelError("is not an anomvae model, or is cut off: its header does not fit the file.")
    try:
        header = json.loads(data[8 : 8 + length], parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError("is not an anomvae model: its header is not JSON.") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise ModelError("is not an anomvae model: it carries no description of itself.")
    _check_bytes(header, len(data) - 8 - length)
    return header


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _check_bytes(header: dict[str, Any], available: int) -> None:
    """Refuse declared tensors that do not cover the `available` bytes end to end."""
    try:
        spans = sorted(
            (
                entry["data_offsets"][0],
                entry["data_offsets"][1],
                math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize,
            )
            for key, entry in header.items()
            if key != "__metadata__"
        )
        at = 0
        for start, stop, size in spans:
            if start != at or stop - start != size:
                raise ModelError("is corrupt: a tensor's shape does not fit its bytes.")
            at = stop
    except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise ModelError("is corrupt: its table of tensors cannot be read.") from error
    if at != available:
        raise ModelError(f"is cut off or padded: {at:,} bytes declared, {available:,} there.")
