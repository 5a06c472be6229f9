"""A model file that is loaded again when it changes, while a `watch` goes on."""

import os
from collections.abc import Callable

from anomvae.errors import ModelError
from anomvae.model.detector import Detector


class ReloadingModel:
    """A model file that is loaded again when it changes. Where the new one cannot be used, the old one stays in use.

    Args:
        name: the file.
        load: loads it.
        say: called with notes for the user.

    Attributes:
        detector: the detector that was loaded last.
        problem: why the file as it is now cannot be used; empty where it can.
    """

    def __init__(self, name: str, load: Callable[[str], Detector], say: Callable[[str], None]) -> None:
        self.name, self._load, self._say = name, load, say
        self._state = self._ask()
        self.detector = load(name)
        self.problem = ""

    def current(self) -> Detector:
        """The newest detector that could be loaded."""
        state = self._ask()
        if state != self._state:
            self._state = state
            try:
                self.detector, self.problem = self._load(self.name), ""
                self._say(f"model {self.name} was reloaded: {self.detector.model_id[:12]}")
            except ModelError as error:
                self.problem = f"the new model cannot be used: {error}"
                self._say(f"{self.problem} The one before stays in use.")
        return self.detector

    def _ask(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.name)  # noqa: PTH116 (asked before every file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
