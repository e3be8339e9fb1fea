"""A result folder holds one model's answers to today's questions: never another's, never stale."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from chatspot_train import evaluate

SPEC = {
    "name": "served", "dialect": {"name": "chatspot", "decimals": 2},
    "geometry": {"mode": "pad_centre", "width": 64, "height": 64},
    "prompt_style": "words", "max_new_tokens": 32,
}  # fmt: skip
TINY = Path("models/chatspot-tiny")
REFUSED = r"(?s)another model.*--fresh|--fresh.*another model"


def write_pope(folder: Path, labels: tuple[str, ...] = ("yes", "no", "yes", "no")) -> Path:
    """POPE's three files about two pictures, as RUCAIBox/POPE lays them out."""
    (folder / "coco").mkdir(parents=True, exist_ok=True)
    (folder / "val2014").mkdir(exist_ok=True)
    for k in range(2):
        name = f"COCO_val2014_{k:012d}.jpg"
        cv2.imwrite(str(folder / "val2014" / name), np.full((40, 60, 3), 90 * k, np.uint8))
    for kind in ("random", "popular", "adversarial"):
        lines = [
            {"question_id": k + 1, "image": f"COCO_val2014_{k // 2:012d}.jpg",
             "text": f"Is there a {('dog', 'mug', 'cat', 'bus')[k]} in the image?", "label": label}
            for k, label in enumerate(labels)
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "coco" / f"coco_pope_{kind}.json").write_text(text)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pope(tmp_path / "data")


def run_or_exit(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    if evaluate.main(argv):
        raise SystemExit(capsys.readouterr().err)


@pytest.fixture
def ask(
    tmp_path: Path, data: Path, chat_server: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., dict[str, float]]:  # fmt: skip
    """Evaluate into the one folder an endpoint that says `text`; returns the rows' values.

    Words in `refused` are what it answers with an error.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    chat_server.topic = lambda text: next(w for w in ("dog", "mug", "cat", "bus") if w in text)

    def go(
        text: str, *more: str, model: str = "one", url: str = "", refused: str = "", **spec: Any
    ) -> dict[str, float]:
        error = 400, {}, {"error": {"message": "not this one"}}
        said = chat_server.completion(text)
        chat_server.answer = lambda topic, count: error if topic == refused else said
        file = tmp_path / "spec.yaml"
        file.write_text(yaml.safe_dump({**SPEC, **spec}))
        run_or_exit(capsys, [
            "--suite", "pope", "--data", str(data), "--out", str(tmp_path / "out"),
            "--model", url or chat_server.url, "--served-model", model, "--spec", str(file), *more,
        ])  # fmt: skip
        return values(tmp_path / "out")

    return go


def values(out: Path) -> dict[str, float]:
    rows = json.loads((out / "results.json").read_text())["rows"]
    return {name: row["value"] for name, row in rows.items()}


@pytest.mark.parametrize(
    "other",
    [
        {"model": "two"},
        {"dialect": {"name": "pixel_json"}},
        {"geometry": {"mode": "stretch", "width": 64, "height": 64}},
        {"prompt_style": "tags"},
        {"max_new_tokens": 4},
    ],
    ids=lambda other: str(next(iter(other))),
)
def test_answers_of_another_endpoint_are_refused(
    ask: Callable[..., dict[str, float]], other: dict[str, Any]
) -> None:
    ask("Yes.")
    with pytest.raises(SystemExit, match=REFUSED):
        ask("No.", **other)


def test_the_same_name_at_another_address_is_another_model(
    ask: Callable[..., dict[str, float]], chat_server: Any
) -> None:
    ask("Yes.")
    with pytest.raises(SystemExit, match=REFUSED):
        ask("No.", url=chat_server.url.replace("127.0.0.1", "localhost"))


def test_fresh_asks_the_other_model_anew(
    ask: Callable[..., dict[str, float]], chat_server: Any
) -> None:
    assert ask("Yes.")["yes_ratio"] == 1.0
    before = len(chat_server.bodies)
    assert ask("No.", "--fresh", model="two")["yes_ratio"] == 0.0
    assert len(chat_server.bodies) == 2 * before


def test_the_same_model_goes_on_without_asking_again(
    ask: Callable[..., dict[str, float]], chat_server: Any
) -> None:
    first = ask("Yes.")
    before = len(chat_server.bodies)
    assert ask("No.") == first
    assert len(chat_server.bodies) == before


def test_an_answer_without_a_model_is_nobodys(
    ask: Callable[..., dict[str, float]], tmp_path: Path
) -> None:
    """A folder of an earlier release says nothing of its model."""
    ask("Yes.")
    file = tmp_path / "out" / "predictions.jsonl"
    known = {"key", "text", "question", "truth", "error", "boxes_xyxy_px", "phrases", "steps",
             "state", "confidence", "seconds", "regions_px", "image"}  # fmt: skip
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k in known} for line in lines if "key" in line]
    for other in (tmp_path / "out").iterdir():
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    file.write_text("".join(json.dumps(line) + "\n" for line in old))
    with pytest.raises(SystemExit, match="--fresh"):
        ask("No.")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["retrained in place", "another folder of the same name"])
def test_answers_of_other_weights_are_refused(
    way: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Retrain, evaluate again: the folder's name is the same, the model is not."""
    first = tmp_path / "first" / "mine"
    second = first if way == "retrained in place" else tmp_path / "second" / "mine"
    shutil.copytree(TINY, first)
    options = ["--suite", "pope", "--data", str(data), "--limit", "2", "--out",
               str(tmp_path / "out")]  # fmt: skip
    run_or_exit(capsys, [*options, "--model", str(first)])
    if second != first:
        shutil.copytree(TINY, second)
    tensors = load_file(second / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 0.25
    save_file(tensors, second / "model.safetensors", {"format": "pt"})
    with pytest.raises(SystemExit, match=REFUSED):
        run_or_exit(capsys, [*options, "--model", str(second)])


def test_a_label_corrected_in_the_data_is_what_is_scored(
    ask: Callable[..., dict[str, float]], data: Path, chat_server: Any
) -> None:
    assert ask("Yes.")["accuracy"] == 0.5
    before = len(chat_server.bodies)
    write_pope(data, ("yes", "yes", "yes", "yes"))
    assert ask("Yes.")["accuracy"] == 1.0
    assert len(chat_server.bodies) == before


def test_a_picture_that_could_not_be_read_is_asked_again(
    ask: Callable[..., dict[str, float]], data: Path
) -> None:
    picture = data / "val2014" / f"COCO_val2014_{1:012d}.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(b"not there yet")
    ask("Yes.")
    picture.write_bytes(whole)
    after = ask("Yes.")
    assert after["accuracy"] == 0.5
    assert after["unanswered"] == 0.0


def test_what_an_endpoint_refused_is_asked_again(
    ask: Callable[..., dict[str, float]], chat_server: Any
) -> None:
    assert ask("Yes.", refused="bus")["unanswered"] == 0.25
    before = chat_server.asked.copy()
    assert ask("Yes.")["unanswered"] == 0.0
    assert {k: n - before[k] for k, n in chat_server.asked.items() if n > before[k]} == {"bus": 3}


def test_another_picture_under_the_same_name_is_asked_about(
    ask: Callable[..., dict[str, float]], data: Path, chat_server: Any
) -> None:
    ask("Yes.")
    before = len(chat_server.bodies)
    picture = data / "val2014" / f"COCO_val2014_{1:012d}.jpg"
    cv2.imwrite(str(picture), np.full((44, 60, 3), 200, np.uint8))
    ask("Yes.")
    assert len(chat_server.bodies) == before + 6
