"""The detector of the moment: a model file that is read again when it changes, while a watch goes on."""

import os
from collections.abc import Callable

from anomvae.errors import ModelError
from anomvae.model.detector import Detector


class Reloading:
    """A model file that is read again when it changes; a bad new one is told, and the old one stays.

    Args:
        name: the file.
        load: reads it.
        tell: called with what happened.
    """

    def __init__(self, name: str, load: Callable[[str], Detector], tell: Callable[[str], None]) -> None:
        self.name, self._load, self._tell = name, load, tell
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
                self._tell(f"model {self.name} was reloaded: {self.detector.model_id[:12]}")
            except ModelError as error:
                self.problem = f"the new model cannot be used: {error}"
                self._tell(f"{self.problem} The one before stays in use.")
        return self.detector

    def _ask(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.name)  # noqa: PTH116 (asked before every file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
