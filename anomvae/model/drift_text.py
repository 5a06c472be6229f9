"""Puts drift into words: what changed in a column, and names for the bins that its values are counted in."""

from itertools import pairwise

import numpy as np

from anomvae.model.arrays import Ints
from anomvae.model.detector import Detector
from anomvae.model.drift import Change, Reference, sets
from anomvae.model.schema import MASK
from anomvae.model.value_formatting import number_text, unit_text

SLIGHT = 0.1  # standard deviations; a number whose mean and spread moved by less is described by the set that deviates


class DriftText:
    """Describes changes against a reference.

    Args:
        detector: the model, for the names and levels of its columns.
        reference: the distribution of training rows.
    """

    def __init__(self, detector: Detector, reference: Reference) -> None:
        self.reference = reference
        self._columns = {column.name: column for column in detector.schema.columns}
        self._features = detector.encoding.features

    def bin_names(self, j: int) -> tuple[str, ...]:
        """A name for every bin of feature j; the j after the last feature stands for the score."""
        bins = self.reference.all[j]
        if not bins.numeric:
            return (*(self._unit(j, unit) for unit in range(len(bins.counts) - 2)), "never seen", "missing")
        edges = [self._number(j, edge) for edge in bins.edges]
        if not edges:
            return "any", "missing"
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        return f"up to {edges[0]}", *between, f"above {edges[-1]}", "missing"

    def describe(self, j: int, change: Change, counts: Ints, new: str = "") -> str:
        """What changed in feature j, as part of a sentence.

        Args:
            j: index of the feature.
            change: its largest deviation.
            counts: (bins,): rows in each bin now.
            new: the commonest value that training never showed.
        """
        bins = self.reference.bins[j]
        gaps = len(bins.edges) if bins.numeric else len(bins.counts) - 1
        if bins.numeric and change.at != gaps and (text := _shift_text(change)):
            return text
        at = min(change.at, gaps)
        (inside, of), (before, before_of) = sets(bins, counts), sets(bins, np.asarray(bins.counts))
        now, usual = (100 * float(k[at]) / max(float(n[at]), 1.0) for k, n in ((inside, of), (before, before_of)))
        if at == gaps:
            return f"missing {now:.3g} %, usual {usual:.3g} %"
        if bins.numeric:
            name = f"up to {self._number(j, bins.edges[at])}"
        else:
            name = f"new value {new!r}".removesuffix(" ''") if at == gaps - 1 else self._unit(j, at)
        return f"{name} in {now:.3g} %, usual {usual:.3g} %"

    def _number(self, j: int, value: float) -> str:
        """A value of feature j or of the score; a mask where no output may show it."""
        column = self._columns.get(self.reference.all[j].column)
        if column is not None and column.redacted:
            return MASK
        return f"{value:.3f}" if column is None else number_text(column, value)

    def _unit(self, j: int, unit: int) -> str:
        """The level that a unit of category j stands for; a mask where no output may show it."""
        feature = self._features[j]
        if unit >= len(feature.levels):
            return "rarer values"
        column = self._columns[feature.column]
        return MASK if column.redacted else unit_text(column, feature, unit)


def _shift_text(change: Change) -> str:
    """The shift of a number's mean, or the change of its spread; empty where neither changed much."""
    wider = np.log(max(change.spread, 1e-3)) * np.sqrt(2)
    if max(abs(change.shift), abs(wider)) < SLIGHT:
        return ""
    if abs(change.shift) >= abs(wider):
        way = "up" if change.shift > 0 else "down"
        return f"shifted {way} by {abs(change.shift):.2g} standard deviations"
    return f"spreads {change.spread:.2g} times as wide"
