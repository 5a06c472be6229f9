"""make bench-outlets: what messages cost a run: 1,000 files of 100 rows through `score FOLDER`, nearly each told.

Without outlets, with a receiver that takes every message, and with one that never answers; three times in turn, the
best of each. Receivers are processes of their own. Asserted: at most a tenth of the throughput is lost; the
end of a run, where messages get five seconds more, is told apart.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.watch import files

COUNT = 1000
RECEIVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if sys.argv[1] == "hang": time.sleep(3600)
        self.send_response(204); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
MEASURED = """
import sys, time
from anomvae.cli import main
from anomvae.outlets.desk import Desk
close, ended = Desk.close, []
def last(desk, patience):
    if not ended: ended.append(time.monotonic())
    return close(desk, patience)
Desk.close = last
start = time.monotonic()
folder, model, out, config = sys.argv[1:]
code = main(["score", folder, "-m", model, "-o", out, "-c", config, "-q", "--settle", "0.1s", "--fail-on", "never"])
print(ended[0] - start, time.monotonic() - ended[0], code)
"""


def run(base: Path, name: str, url: str) -> tuple[float, float, int]:
    """Seconds of the work, seconds of the end, exit code."""
    config, out = base / f"{name}.toml", base / f"{name}-out"
    outlets = '[outlets]\nwebhook = "env:BENCH_HOOK"\non = "any"\ncooldown = "0.001s"\n' if url else ""
    config.write_text(f"version = 1\n{outlets}")
    env = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "BENCH_HOOK": url,
    }
    argv = [sys.executable, "-c", MEASURED, *map(str, (base / "in", base / "m.anomvae", out, config))]
    work, end, code = subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout.split()
    shutil.rmtree(out)
    return float(work), float(end), int(code)


def main() -> None:
    """Measure, print, assert."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        files(base / "train", 20)
        fit = [sys.executable, "-m", "anomvae", "fit", str(base / "train"), "-o", str(base / "m.anomvae"), "-q"]
        subprocess.run(fit, check=True)
        files(base / "in", COUNT)
        receivers = {
            mood: subprocess.Popen([sys.executable, "-c", RECEIVER, mood], stdout=subprocess.PIPE, text=True)
            for mood in ("ok", "hang")
        }
        try:
            urls = {mood: f"http://127.0.0.1:{one.stdout.readline().strip()}/" for mood, one in receivers.items()}  # type: ignore[union-attr]
            found: dict[str, list[tuple[float, float, int]]] = {}
            for _ in range(3):
                for mood, url in {"none": "", **urls}.items():
                    found.setdefault(mood, []).append(run(base, mood, url))
        finally:
            for one in receivers.values():
                one.kill()
                one.communicate()
    best = {mood: min(runs) for mood, runs in found.items()}
    for mood, (work, end, code) in best.items():
        lost = 100 * (1 - best["none"][0] / work)
        print(f"{mood:5} {COUNT / work:6.1f} files a second, {lost:4.1f} % lost; end {end:.1f} s; exit code {code}")
    assert max(work for work, *_ in best.values()) * 0.9 <= best["none"][0], "messages cost more than a tenth"  # noqa: S101


if __name__ == "__main__":
    main()
