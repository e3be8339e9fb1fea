"""The program `chatspot`, as it is typed in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatspot_ros.tools.cli import COMMANDS, main

# Modules that take seconds to import, and rclpy, which needs a sourced workspace.
HEAVY = ("torch", "transformers", "matplotlib", "mujoco", "cv2", "numpy", "rclpy")


def chatspot(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["chatspot", *arguments], capture_output=True, text=True, timeout=120,
        env={**os.environ, **env}, check=False,
    )  # fmt: skip


def test_the_program_is_on_the_path_and_names_every_command() -> None:
    ended = chatspot("--help")
    assert ended.returncode == 0, ended.stderr
    for name in COMMANDS:
        assert re.search(rf"^    {name}( .*)?$", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: chatspot {name} ")
    assert "options:" in shown
    description = shown.split("\n\n")[1]
    assert description[0].isupper()
    assert description.endswith(".")


@pytest.mark.parametrize("arguments", [["--help"], ["sing"], []])
def test_help_and_a_wrong_command_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from chatspot_ros.tools.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    status = end.code\n"
        f"print([m for m in {HEAVY} if m in sys.modules], status, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ended.stderr.endswith(f"[] {0 if arguments == ['--help'] else 2}\n")


def test_an_unknown_command_is_refused_and_the_known_are_named() -> None:
    ended = chatspot("sing")
    assert ended.returncode == 2
    assert "invalid choice: 'sing'" in ended.stderr
    assert "evaluate" in ended.stderr


def test_status_output_and_prefix_are_the_commands_own(root: Path, tmp_path: Path) -> None:
    ended = chatspot("preview", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("chatspot preview: no records in ")
    assert chatspot("inspect", str(tmp_path)).stderr == ended.stderr
    ended = chatspot("docs", "--check", "--root", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("chatspot docs: ")
    assert "run it in the repository" in ended.stderr
    ended = chatspot("docs", "--check", "--root", str(root))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    ended = chatspot("build", "--sauce", "x")
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: chatspot build ")


def test_a_module_says_the_same_as_its_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "chatspot_ros.tools.completion", "tcsh"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (2, chatspot("completion", "tcsh").stderr)


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "preview", ("surely_not_installed.module", "cannot be imported"))
    with pytest.raises(SystemExit) as ended:
        main(["preview", "x"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == "chatspot preview: the Python module surely_not_installed is not installed\n"


# What bash does when TAB is pressed behind a line: call the registered function, read COMPREPLY.
PRESS_TAB = """
source <(chatspot completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
COMP_WORDS=($COMP_LINE) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p chatspot | sed -E 's/.* -F ([^ ]+) .*/\\1/')
$function chatspot "${COMP_WORDS[-1]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("chatspot prev", {"preview"}),
        ("chatspot evaluate-", {"evaluate-detector"}),
        ("chatspot preview --co", {"--count"}),
        ("chatspot completion z", {"zsh"}),
        ("chatspot ask --po", {"--point", "--polygon"}),
        ("chatspot ask --task st", {"state"}),
        ("chatspot do", {"doctor", "docs"}),
        ("chatspot watch --ch", {"--changes"}),
    ],
)
def test_bash_completes_commands_options_and_choices(line: str, words: set[str]) -> None:
    ended = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB, "bash", line],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert {word.strip() for word in ended.stdout.split("\n")} - {""} == words, ended.stderr


@pytest.mark.parametrize(
    ("shell", "register"), [("zsh", "#compdef chatspot"), ("fish", "complete")]
)
def test_other_shells_have_their_code(shell: str, register: str) -> None:
    assert register in chatspot("completion", shell).stdout


def test_an_interrupt_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chatspot_train.data import preview

    def interrupt(*_: Any) -> Callable[..., Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(preview, "Records", interrupt)
    assert main(["preview", "x"]) == 130
    assert capsys.readouterr().err == "chatspot preview: interrupted\n"
