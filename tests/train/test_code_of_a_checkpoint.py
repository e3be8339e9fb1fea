"""A checkpoint's own Python code is never run, nor asked about: `y` on stdin changes nothing."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from chatspot_train import evaluate, train

CODE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import PretrainedConfig, PreTrainedTokenizerFast
class EvilConfig(PretrainedConfig):
    model_type = "evil"
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""
AUTO_MAP = {
    "AutoConfig": "evil.EvilConfig", "AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"],
    "AutoModel": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilConfig",
    "AutoModelForImageTextToText": "evil.EvilConfig", "AutoProcessor": "evil.EvilConfig",
    "AutoImageProcessor": "evil.EvilConfig", "AutoModelForObjectDetection": "evil.EvilConfig",
    "AutoModelForZeroShotObjectDetection": "evil.EvilConfig",
}  # fmt: skip


def poison(folder: Path, marker: Path, *, kind: str) -> Path:
    """Have every Auto class of transformers find the folder's own code."""
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json",
                 "processor_config.json"):  # fmt: skip
        file = folder / name
        values = json.loads(file.read_text()) if file.exists() else {}
        values["auto_map"] = AUTO_MAP
        if name == "config.json" and kind == "unknown":
            values["model_type"] = "evil"
            values.pop("architectures", None)
        if name == "tokenizer_config.json" and kind == "unknown":
            values["tokenizer_class"] = "EvilTokenizer"
        file.write_text(json.dumps(values))
    return folder


@pytest.fixture
def program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command with `y` on stdin; return all that it printed, and its error."""

    def run(main: Any, *arguments: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 40))
        error: BaseException | str = ""
        try:
            main([*arguments])
        except (Exception, SystemExit) as raised:
            error = raised
        done = capfd.readouterr()
        return f"{done.out}{done.err}{error}"

    return run


@pytest.fixture(params=["unknown", "known"])
def evil(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint with code of its own, of a model type that transformers knows or not."""
    folder, marker = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree("models/chatspot-tiny", folder)
    return poison(folder, marker, kind=request.param), marker


def judge(marker: Path, output: str) -> None:
    assert not marker.exists(), "the checkpoint's code was run"
    assert "[y/N]" not in output
    # A script of these tests ends with a traceback, which quotes transformers.
    message = output.strip().splitlines()[-1] if "Traceback" in output else output
    assert "trust_remote_code=True" not in message


def pope(folder: Path) -> Path:
    (folder / "val2014").mkdir(parents=True)
    cv2.imwrite(str(folder / "val2014" / "a.jpg"), np.full((8, 8, 3), 90, np.uint8))
    line = {"question_id": 1, "image": "a.jpg", "text": "Is there a mug?", "label": "yes"}
    for name in ("random", "popular", "adversarial"):
        (folder / f"coco_pope_{name}.json").write_text(json.dumps(line) + "\n")
    return folder


@pytest.mark.timeout(240)
def test_evaluating_does_not_run_it(evil: tuple[Path, Path], tmp_path: Path, program: Any) -> None:
    folder, marker = evil
    output = program(
        evaluate.main,
        "--suite",
        "pope",
        "--model",
        str(folder),
        "--data",
        str(pope(tmp_path / "data")),
        "--out",
        str(tmp_path / "out"),
    )
    judge(marker, output)


@pytest.mark.timeout(240)
def test_a_clip_checkpoint_does_not_run_it(
    evil: tuple[Path, Path], tmp_path: Path, program: Any
) -> None:
    """Categories are matched by a CLIP checkpoint's tokenizer and text tower."""
    folder, marker = evil
    output = program(evaluate.main, "--suite", "coco_region", "--clip", str(folder),
                        "--model", "models/chatspot-tiny", "--data", str(tmp_path),
                        "--out", str(tmp_path / "out"))  # fmt: skip
    judge(marker, output)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["checkpoint", "language", "vision", "teacher"])
def test_starting_a_training_does_not_run_it(
    way: str,
    evil: tuple[Path, Path],
    tmp_path: Path,
    parts: dict[str, Any],
    painted: Any,
    program: Any,
) -> None:
    folder, marker = evil
    if way in ("language", "vision"):
        shutil.rmtree(folder)
        shutil.copytree(parts[way], folder)
        poison(folder, marker, kind="unknown")
    model = {"checkpoint": str(folder)} if way == "checkpoint" else dict(parts)
    if way in ("language", "vision"):
        model[way] = str(folder)
    values: dict[str, Any] = {
        "recipe": "instruct", "out": str(tmp_path / "out"), "model": model, "data": [painted(2)],
        "learn": ["projection"],
        "optim": {"learning_rate": 1e-3, "batch": 2, "per_device": 2, "workers": 0, "steps": 1,
                  "progress": False, "gradient_checkpointing": False},
    }  # fmt: skip
    if way == "teacher":
        values["distill"] = {"teacher": str(folder)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    output = program(train.main, "--config", str(tmp_path / "run.yaml"))
    judge(marker, output)


@pytest.mark.timeout(240)
def test_the_node_does_not_run_it(evil: tuple[Path, Path]) -> None:
    folder, marker = evil
    script = (
        "import chatspot_ros.server.engine_factory as factory; "
        "from chatspot_ros.server.settings import Settings; "
        f"factory.load_engine(Settings(model={str(folder)!r}, device='cpu', warm_up=False))"
    )
    done = subprocess.run([sys.executable, "-c", script], input="y\n" * 40, capture_output=True,
                          text=True, timeout=200, check=False)  # fmt: skip
    judge(marker, done.stdout + done.stderr)


@pytest.mark.timeout(240)
def test_the_detector_does_not_run_it(tmp_path: Path) -> None:
    folder, marker = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree("models/chatspot-tiny-detector", folder)
    poison(folder, marker, kind="unknown")
    script = (
        f"from chatspot_ros.detector.object_detector import Detector as D; D.load({str(folder)!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], input="y\n" * 40, capture_output=True,
                          text=True, timeout=200, check=False)  # fmt: skip
    assert "No module" not in done.stderr
    judge(marker, done.stdout + done.stderr)


def test_every_auto_class_is_told_not_to(root: Path) -> None:
    """One place of the code that forgets it is enough."""
    import ast

    forgotten = []
    for package in ("chatspot_ros", "chatspot_train", "chatspot_sim", "benchmarks", "examples"):
        for file in (root / package).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                        and call.func.attr == "from_pretrained"
                        and isinstance(call.func.value, ast.Name)
                        and call.func.value.id.startswith("Auto")):  # fmt: skip
                    continue
                told = {one.arg: ast.unparse(one.value) for one in call.keywords}
                if told.get("trust_remote_code") != "False":
                    forgotten.append(f"{file.relative_to(root)}:{call.lineno}")
    assert forgotten == []
