"""The live screen of `watch`: drawn from the same record that health.json holds."""

from collections import deque
from typing import Any

from anomvae.records.folder import HealthResult
from anomvae.report.folder import screen
from anomvae.report.terminal import console

NOTES = 3


class Screen:
    """Redraws itself with every health record; notes stand below it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False, transient=False, vertical_overflow="crop")
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._started = False

    def start(self) -> None:
        """Take the terminal."""
        self._live.start()
        self._started = True

    def stop(self) -> None:
        """Leave the last picture standing."""
        if self._started:
            self._live.stop()

    def say(self, said: Any) -> None:
        """Keep a note; deliveries stand in the health record."""
        if isinstance(said, str):
            self._notes.append(said)

    def show(self, health: HealthResult) -> None:
        """Draw."""
        if self._started:
            self._live.update(screen(health, tuple(self._notes), self._live.console.size.height), refresh=True)
