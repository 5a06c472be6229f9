"""Drift over files: the newest 1, 3 and 9 of them together, each time against training.

Of clean files at most one in 10,000 is told, by Boole's inequality over columns, windows and the flag count: 5 % of
runs over 500 files. A file that is off by itself is told itself, and left out of later windows, or one bad file would
be told nine times. What is told is a function of the newest files alone, so a run that was killed tells the same.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from anomvae.drift import REMEMBERED, Evidence
from anomvae.model.arrays import Ints
from anomvae.model.calibration import Calibration, file_p_value
from anomvae.model.drift import Change, Reference, compare

FALSE_ALARMS = 1e-4  # of clean files
FLAGS = 0.8  # share of them that the flag count gets, which is the harder to tell; the rest goes to the columns
WINDOWS = (1, 3, 1 + REMEMBERED)
ODD = 1e-6  # the chance of as many flags in one file, up to which that file is left out of the next windows


class Weighed(msgspec.Struct, frozen=True):
    """What the newest files say together.

    `p`: the chance of as much in a clean file, over all windows; `files`: the smallest window that is told, else the
    one that says most; `changes`, `counts`: of every feature in it; `flags`: the chance of as many flags
    in it; `rows`, `flagged`: its rows. `alone`: the newest file is off by itself.
    """

    p: float
    files: int
    changes: tuple[Change, ...]
    counts: tuple[Ints, ...]
    flags: float
    rows: int
    flagged: int
    alone: bool = False

    @property
    def drifted(self) -> bool:
        """Whether this is told."""
        return self.p <= FALSE_ALARMS

    @property
    def flags_limit(self) -> float:
        """The chance of as many flags from which they are told."""
        return FALSE_ALARMS * FLAGS / (len(WINDOWS) - 1)

    @property
    def column_limit(self) -> float:
        """The p of one column from which it is told."""
        return FALSE_ALARMS * (1 - FLAGS) / len(WINDOWS) / len(self.changes)


def weigh(reference: Reference, calibration: Calibration, alpha: float, newest: Sequence[Evidence]) -> Weighed:
    """Weigh the newest files, the last one the newest, of one model and one alpha."""
    windows = sorted({min(size, len(newest)) for size in WINDOWS})
    found = [_window(reference, calibration, alpha, newest[-size:]) for size in windows]
    alone = found[0].drifted or found[0].flags <= ODD
    told = next((one for one in found if one.drifted), min(found, key=lambda one: one.p))
    return msgspec.structs.replace(told, alone=alone)


def _design(calibration: Calibration, blocks: int) -> float:
    """The design effect of flags, two standard errors of its excess above what so many blocks showed.

    Flags that come together have a longer tail than a beta-binomial with the estimate itself.
    """
    return 1 + (calibration.design - 1) * (1 + 2 * math.sqrt(2 / blocks))


def _window(reference: Reference, calibration: Calibration, alpha: float, files: Sequence[Evidence]) -> Weighed:
    rows, flagged = sum(file.rows for file in files), sum(file.flagged for file in files)
    counts = tuple(np.sum(of, axis=0) for of in zip(*(file.counts for file in files), strict=True))
    changes = tuple(compare(reference, counts[:-1]))  # the last ones are of the score
    flags = file_p_value(rows, flagged, alpha, calibration.effective, _design(calibration, reference.blocks))
    columns = len(WINDOWS) * len(changes) * min(change.p for change in changes) / (1 - FLAGS)
    several = (len(WINDOWS) - 1) * flags / FLAGS if len(files) > 1 else 1.0  # one file's flags are its own verdict
    return Weighed(min(1.0, columns, several), len(files), changes, counts, flags, rows, flagged)
