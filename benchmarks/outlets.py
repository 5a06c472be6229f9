"""make bench-outlets: what messages cost a run: files of 100 rows through `score FOLDER`, more than half of them told.

Without outlets, with a receiver that takes every message, and with one that never answers: 250 files of each in turn,
six times, the best of each, since machines are shared. Receivers are processes of their own. Asserted: at most a tenth
of the throughput is lost; the end of a run, where messages get five seconds more, is told apart.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.watch import files

COUNT, ROUNDS = 250, 6
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
from anomvae.notify import notifier
close, ended = notifier.Notifier.close, []
trouble, good = notifier.trouble, notifier.good
notifier.trouble = lambda topics, name, now, cooldown: trouble(topics, name, now, -1.0)  # every file causes a message
notifier.good = lambda topics, now, cooldown: good(topics, now, -1.0)
def last(self, patience):
    if not ended: ended.extend((time.monotonic(), time.process_time()))
    return close(self, patience)
notifier.Notifier.close = last
start, cpu = time.monotonic(), time.process_time()
folder, model, out, config = sys.argv[1:]
code = main(["score", folder, "-m", model, "-o", out, "-c", config, "-q", "--settle", "0.1s", "--fail-on", "never"])
print(ended[0] - start, ended[1] - cpu, time.monotonic() - ended[0], code)
"""


def run(base: Path, name: str, url: str) -> tuple[float, ...]:
    """Seconds of the work, its CPU seconds, seconds of the end, exit code."""
    config, out = base / f"{name}.toml", base / f"{name}-out"
    outlets = '[outlets]\nwebhook = "env:BENCH_HOOK"\non = "any"\n' if url else ""
    config.write_text(f"version = 1\n{outlets}")
    env = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "BENCH_HOOK": url,
    }
    argv = [sys.executable, "-c", MEASURED, *map(str, (base / "in", base / "m.anomvae", out, config))]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout
    shutil.rmtree(out)
    return tuple(map(float, told.split()))


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
            found: dict[str, list[tuple[float, ...]]] = {}
            for _ in range(ROUNDS):
                for mood, url in {"none": "", **urls}.items():
                    found.setdefault(mood, []).append(run(base, mood, url))
        finally:
            for one in receivers.values():
                one.kill()
                one.communicate()
    best = {mood: [min(figures) for figures in zip(*runs, strict=True)] for mood, runs in found.items()}
    free = best["none"]
    for mood, (work, cpu, end, code) in best.items():
        lost, more = 100 * (1 - free[0] / work), 100 * (cpu / free[1] - 1)
        print(
            f"{mood:5} {COUNT / work:5.1f} files a second, {lost:4.1f} % lost; {1e3 * cpu / COUNT:.2f} CPU-ms a file,"
        )
        print(f"      {more:4.1f} % more; end {end:.1f} s; exit code {code:.0f}")
    assert max(figures[0] for figures in best.values()) * 0.9 <= free[0], "messages cost more than a tenth"  # noqa: S101


if __name__ == "__main__":
    main()
