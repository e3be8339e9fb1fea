"""Small files that would unfold to gigabytes, or loop for ever, are refused at the start."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from chatspot_ros.engine.loading import template_trial
from chatspot_ros.engine.prompting import chat_template
from chatspot_ros.errors import ModelLoadError

MODEL = Path("models/chatspot-tiny")
START = """
import resource, sys
import chatspot_ros.core.skills as skills
import chatspot_ros.server.engine_factory as factory
from chatspot_ros.errors import ChatspotError
from chatspot_ros.server.settings import Settings
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {call}
except ChatspotError as error:
    print(len(str(error)), error)
print("grew", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken)
"""
ROOM = 8 << 30


def unfolding(levels: int = 7) -> str:
    """A list whose innermost one stands 9 ** levels times in it: 350 bytes, 43 million words."""
    text = "&a [x,x,x,x,x,x,x,x,x]"
    for k in range(levels):
        name, below = chr(ord("b") + k), chr(ord("a") + k)
        text = f"&{name} [{text}{f',*{below}' * 8}]"
    return text


def start(call: str, *arguments: str) -> str:
    """Run it with a bound on its memory; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(call=call), *arguments], capture_output=True, text=True,
        timeout=280, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("read", "text"),
    [
        ("skills.read_states(sys.argv[1])", "door: {0}\n"),
        ("skills.read_states(sys.argv[1])", "door: [open]\nlamp: {0}\n"),
        ("skills.read_states(sys.argv[1])", "{0}: [open]\n"),
        ("skills.read_skills(sys.argv[1])", "open: {0}\n"),
    ],
)
def test_a_yaml_file_of_anchors_is_refused(read: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "states.yaml"
    file.write_text(text.format(unfolding() if "{0}:" not in text else "? " + unfolding()))
    said = start(read, str(file))
    assert int(said.split()[0]) < 1000
    assert "states.yaml" in said
    assert int(said.rpartition("grew")[2]) < 64 * 1024  # kB


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["watch", "spec", "train"])
def test_every_reader_of_yaml_is_bounded(what: str, tmp_path: Path) -> None:
    file = tmp_path / "chatspot.yaml"
    calls = {
        "watch": "from chatspot_ros.ros.watcher import read_watch_list; "
                 "read_watch_list(Settings(watch=sys.argv[1]))",
        "spec": "from chatspot_ros.core.model_spec import read_spec; "
                "from pathlib import Path; read_spec(Path(sys.argv[1]))",
        "train": "from chatspot_train.train import main; "
                 "print(main(['--config', sys.argv[1]]))",
    }  # fmt: skip
    file.write_text(f"recipe: instruct\nname: {unfolding()}\nwatches: *h\n")
    said = start(calls[what], str(file))
    assert int(said.split()[0]) < 4000
    assert int(said.rpartition("grew")[2]) < 900 * 1024  # kB; torch is imported


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}"
        "{% endfor %}{% endfor %}{% endfor %}x",
        "{{ 'x' * 10 ** 10 }}",
        "{% set n = namespace(s='x') %}{% for k in range(60) %}{% set n.s = n.s + n.s %}"
        "{% endfor %}{{ n.s }}",
        "{{ '%9999999999d' | format(1) }}",
        # Of transformers' own extensions: another renderer would stop at the tag.
        "{% generation %}{% for a in range(9999) %}{% for b in range(9999) %}"
        "{% for c in range(99) %}{% endfor %}{% endfor %}{% endfor %}{% endgeneration %}",
    ],
    ids=["loops", "times", "doubling", "width", "generation"],
)
def test_a_chat_template_that_never_ends_is_refused(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_trial, "SECONDS", 1.0)
    tokenizer = AutoTokenizer.from_pretrained(MODEL, trust_remote_code=False)
    with pytest.raises(ModelLoadError, match="template"):
        chat_template.ChatTemplate(tokenizer, template, tokenizer.convert_tokens_to_ids("<image>"))


def test_a_template_is_tried_without_a_copy_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy of a process with threads may stand still: Python 3.12 and later warn of it."""

    def refuse() -> int:
        raise AssertionError("the process was copied")

    monkeypatch.setattr(os, "fork", refuse)
    tokenizer = AutoTokenizer.from_pretrained(MODEL, trust_remote_code=False)
    for template in ("{{ bos_token }}{{ messages | tojson }}", "{{ raise_exception('no') }}"):
        assert template_trial.find_endless(tokenizer, template) == ""


def test_a_process_that_cannot_try_a_template_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "program.py"
    broken.write_text("import nothing_of_this_name")
    monkeypatch.setattr(template_trial, "_PROGRAM", broken)
    tokenizer = AutoTokenizer.from_pretrained(MODEL, trust_remote_code=False)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    with pytest.raises(ModelLoadError, match=r"could not be tried.*nothing_of_this_name"):
        chat_template.ChatTemplate(tokenizer, "a template of its own <image>", image_token)


def test_a_plain_template_and_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "states.yaml").write_text("door: &d [open, closed]\nlid: *d\n")
    assert start("print(0, skills.read_states(sys.argv[1]))", str(tmp_path / "states.yaml"))
