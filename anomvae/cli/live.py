"""The live screen of `watch`, drawn from the same record that health.json holds."""

from collections import deque
from typing import Any

from anomvae.records.folder import HealthResult
from anomvae.report.folder import screen
from anomvae.report.tables import console

NOTES = 3  # newest notes that are shown


class Screen:
    """Redraws itself with every health record, with the newest notes below."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False, transient=False, vertical_overflow="crop")
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._started = False

    def start(self) -> None:
        """Begin to draw on the terminal."""
        self._live.start()
        self._started = True

    def stop(self) -> None:
        """Stop drawing; the last picture stays on the terminal."""
        if self._started:
            self._live.stop()

    def say(self, reported: Any) -> None:
        """Keep a note; processed files are shown from the health record."""
        if isinstance(reported, str):
            self._notes.append(reported)

    def show(self, health: HealthResult) -> None:
        """Draw a health record."""
        if self._started:
            self._live.update(screen(health, tuple(self._notes), self._live.console.size.height), refresh=True)
