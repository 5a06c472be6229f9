"""Write docs/pictures: what the real commands print on the sample data, run in a terminal of their own, as SVG.

A picture holds text, no font and no link, so that it is small and fetches nothing. `python docs/make_pictures.py`
fits the models it needs; tests/test_readme.py draws the pictures again and compares their text.
"""

import fcntl
import html
import io
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 100, 30
COMMANDS = {
    "score": "anomvae score sample_data/incoming/2026-11-12.csv -m orders.anomvae --top 6",
    "explain": "anomvae explain sample_data/incoming/2026-11-12.csv:41 -m orders.anomvae",
    "generate": "anomvae generate -m ones.anomvae -n 1 --show",
}
WATCH = "anomvae watch incoming -m orders.anomvae --settle 0.5s"
FITS = (
    "fit sample_data/orders --id order_id --drop customer -o orders.anomvae",
    "fit sample_data/digits.csv --where digit==1 --drop digit --hidden 32 --latent 4 -o ones.anomvae",
)
THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207),
     (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255),
     (86, 212, 221), (240, 246, 252)],
)  # fmt: skip
FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; white-space: pre }}
{styles}
</style>
<rect width="100%" height="100%" rx="9" fill="#161b22"/>
<circle cx="20" cy="19" r="6" fill="#ff7b72"/>
<circle cx="40" cy="19" r="6" fill="#d29922"/>
<circle cx="60" cy="19" r="6" fill="#3fb950"/>
<g transform="translate(9, 41)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
CLIP = re.compile(r' clip-path="url\([^)]*\)"')
WORDS = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)
CLEARED = "\x1b[2K"


def main() -> None:
    """Fit, draw, write."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "sample_data").symlink_to(ROOT / "sample_data")
        for fit in FITS:
            subprocess.run([sys.executable, "-m", "anomvae", *fit.split(), "-q"], cwd=folder, check=True)
        PICTURES.mkdir(exist_ok=True)
        for name, picture in pictures(folder).items():
            (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


def pictures(folder: Path) -> dict[str, str]:
    """Every picture as SVG, by name.

    Args:
        folder: has sample_data, orders.anomvae and ones.anomvae; the commands run in it.
    """
    drawn = {name: svg(name, command, screen(command, folder)) for name, command in COMMANDS.items()}
    return drawn | {"watch": svg("watch", WATCH, watched(folder))}


def svg(name: str, command: str, printed: str) -> str:
    """A command and what it printed, as one picture."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bright_black"), (command, "bold")))
    console.print(Text.from_ansi(printed.rstrip()))
    return CLIP.sub("", console.export_svg(title="", theme=THEME, code_format=FRAME, unique_id=name))


def words(picture: str) -> str:
    """The text of a picture."""
    return " ".join(html.unescape(word).replace("\xa0", " ") for word in WORDS.findall(picture))


def screen(command: str, folder: Path) -> str:
    """What a command prints into a terminal, until it ends."""
    terminal = Terminal(command, folder)
    terminal.until(lambda printed: False)
    return last(terminal.printed)


def watched(folder: Path) -> str:
    """The live screen once the three files of the sample and a PDF have arrived."""
    shutil.rmtree(folder / "incoming", ignore_errors=True)
    shutil.rmtree(folder / "anomvae-out", ignore_errors=True)
    (folder / "incoming").mkdir()
    terminal = Terminal(WATCH, folder)
    terminal.until(lambda printed: "nothing has arrived yet" in printed)
    arriving = {path.name: path.read_bytes() for path in sorted((folder / "sample_data" / "incoming").glob("*.csv"))}
    for name, data in {**arriving, "prices.csv": b"%PDF-1.7\n"}.items():
        (folder / "incoming" / name).write_bytes(data)
        terminal.until(lambda printed, name=name: name in last(printed) and "waiting for files" in last(printed))
    shown = last(terminal.printed)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.until(lambda printed: False)
    return shown


def last(printed: str) -> str:
    """What stands on the screen since it was last cleared: no progress bar, no older picture."""
    return printed.rpartition(CLEARED)[2].replace("\r\n", "\n")


class Terminal:
    """A command in a terminal of its own, 100 columns wide."""

    def __init__(self, command: str, folder: Path) -> None:
        self.printed = ""
        self._end, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        words = [sys.executable, "-m", "anomvae", *command.split()[1:]]
        given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        env = {**given, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = subprocess.Popen(words, cwd=folder, env=env, stdin=there, stdout=there, stderr=there)
        os.close(there)

    def until(self, enough: Callable[[str], bool], seconds: float = 120) -> None:
        """Read until enough is printed, or the command has ended."""
        ends = time.monotonic() + seconds
        while not enough(self.printed):
            if time.monotonic() > ends:
                self.process.kill()
                raise TimeoutError(self.printed)
            try:
                self.printed += os.read(self._end, 65536).decode()
            except OSError:  # the other end is closed
                self.process.wait()
                os.close(self._end)
                break


if __name__ == "__main__":
    main()
