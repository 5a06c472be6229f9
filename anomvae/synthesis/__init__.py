"""Synthetic rows: fits a generator beside the detector, and draws rows from it that are like those of training.

Other packages import from here only. The names are loaded on first use, so that importing the package costs nothing
and scoring never loads it. The modules in the order in which rows go through them:

    fit       train.py -> dependencies.py, encoder.py, generator_network.py (torch), row_hashes.py -> generator.py
              -> generator_file.py
    generate  command.py -> complete_rows.py -> generator.py (decoder.py, sample.py) -> privacy_filter.py -> the file,
              records.py (pictures.py) -> report.py
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
