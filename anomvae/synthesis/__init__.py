"""Synthetic rows: trains a generator beside the detector, and draws rows like those of training from it.

This is the only way in: what other packages need is named here and loaded on first use, so that importing the
package costs nothing and scoring never loads it. The path of a row:

    train.py -> encoder.py, dependencies.py, generator_network.py (torch) -> generator.py -> generator_file.py
    command.py -> generator.py (decoder.py, sample.py) -> privacy_filter.py -> the file, records.py -> report.py
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomvae.synthesis import generator_file
    from anomvae.synthesis.command import generate
    from anomvae.synthesis.generator import Generator
    from anomvae.synthesis.records import GenerateResult, Picture
    from anomvae.synthesis.report import generate_report, picture_cells, picture_shades
    from anomvae.synthesis.train import fit_generator

__all__ = [
    "GenerateResult",
    "Generator",
    "Picture",
    "fit_generator",
    "generate",
    "generate_report",
    "generator_file",
    "picture_cells",
    "picture_shades",
]

_HOMES = {
    "GenerateResult": "anomvae.synthesis.records",
    "Generator": "anomvae.synthesis.generator",
    "Picture": "anomvae.synthesis.records",
    "fit_generator": "anomvae.synthesis.train",
    "generate": "anomvae.synthesis.command",
    "generate_report": "anomvae.synthesis.report",
    "picture_cells": "anomvae.synthesis.report",
    "picture_shades": "anomvae.synthesis.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomvae.synthesis' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
