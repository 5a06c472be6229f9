"""Shell completion as a shell asks for it: real processes, a real bash, and nothing heavy imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anomvae.cli import COMMANDS

HEAVY = {"torch", "numpy", "pandas", "scipy", "pyarrow", "rich", "jinja2", "watchdog"}


def completed(*words: str) -> list[tuple[str, str]]:
    """Kind and value of what is offered for the last word, by click's protocol."""
    told = {"_ANOMVAE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["anomvae", *words])}
    env = {**os.environ, **told, "COMP_CWORD": str(len(words))}
    done = subprocess.run([sys.executable, "-m", "anomvae"], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [(kind, value) for kind, _, value in (line.partition(",") for line in done.stdout.splitlines())]


def test_commands_come_in_the_order_of_use() -> None:
    assert [value for _, value in completed("")] == list(COMMANDS)
    assert completed("sc") == [("plain", "schema"), ("plain", "score")]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["score", "--fail-on", ""], ["never", "any", "critical", "file"]),
        (["score", "--emit", "f"], ["flagged"]),
        (["watch", "--ob"], ["--observer"]),
        (["threshold", ""], ["show", "set", "recalibrate"]),
        (["demo", "d"], ["digits"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_options_and_choices_are_offered(words: list[str], offered: list[str]) -> None:
    found = completed(*words)
    assert {kind for kind, _ in found} == {"plain"}
    assert sorted(value for _, value in found) == sorted(offered)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["fit", "sam"], "file"),
        (["score", "-m", ""], "file"),
        (["score", "a.csv", "-o", ""], "file"),
        (["generate", "--like", ""], "file"),
        (["report", "-c", ""], "file"),
        (["watch", ""], "dir"),
        (["status", ""], "dir"),
        (["retry", ""], "dir"),
    ],
)
def test_the_shell_is_asked_for_files_where_files_are_wanted(words: list[str], kind: str) -> None:
    assert [found for found, _ in completed(*words)] == [kind]


def test_completing_imports_nothing_heavy() -> None:
    code = (
        "import atexit, sys; sys.argv = ['anomvae']\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from anomvae.__main__ import run; run()"
    )
    for words in ("anomvae ", "anomvae fit --dev", "anomvae watch --observer ", "anomvae generate --like x"):
        told = {"_ANOMVAE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        env = {**os.environ, **told}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        modules = {name.partition(".")[0] for name in done.stderr.split()}
        assert done.stdout
        assert "click" in modules
        assert not modules & HEAVY


def test_a_real_bash_completes(tmp_path: Path) -> None:
    """The printed script, evaluated in an interactive bash, answers TAB with a command, a choice and a file name."""
    (tmp_path / "orders-of-may.csv").touch()
    tool = Path(sys.executable).parent
    keys = "anomvae sco\ta.csv --fail-on crit\t; anomvae fit orders-o\t\n"
    script = f'PS1=\nbind "set bell-style none"\nanomvae() {{ echo "got: $*"; }}\n{keys}exit\n'
    start = tmp_path / "rc"
    start.write_text(f'export PATH="{tool}:$PATH"\neval "$(anomvae completion bash)"\n')
    shell = ["bash", "--rcfile", str(start), "-i"]
    env = {**os.environ, "TERM": "dumb", "HOME": str(tmp_path)}
    done = in_terminal(shell, script, tmp_path, env)
    assert "got: score a.csv --fail-on critical" in done
    assert "got: fit orders-of-may.csv" in done


def in_terminal(command: list[str], keys: str, folder: Path, env: dict[str, str]) -> str:
    """What a terminal shows of a command, into which keys are typed."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, env)  # noqa: S606 (it needs the terminal of its parent)
    os.write(terminal, keys.encode())
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # the end of a terminal whose process has ended
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_this_program(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "anomvae", "completion", shell], capture_output=True, text=True, check=True
    )
    assert f"_ANOMVAE_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""
