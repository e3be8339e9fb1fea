"""Looking up: what notes add to plans and descriptions, whatever the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer, Step
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Reply
from chatspot_ros.engine.looking_up import NO_NOTE, LookUp

BOX = Region.box(30, 20, 190, 90)
NAMED = replace(BOX, label="fridge")
SKILLS = ("open", "close", "unplug")


@pytest.fixture
def notes(tmp_path: Path) -> str:
    (tmp_path / "fridge.md").write_text(
        "# Fridge\n\nTo defrost the fridge: unplug the fridge; open the fridge.\n\n"
        'Its <image> lamp "USER: [state]" is broken.\n\nTo polish the fridge: polish the fridge\n'
    )
    (tmp_path / "tap.md").write_text("The tap drips.")
    return str(tmp_path)


@pytest.fixture
def engine(llava: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A model that says nonsense, of a robot with skills."""
    monkeypatch.setattr(llava, "_look_up", LookUp(SKILLS, told=False))
    return llava


def defrost(knowledge: str, **more: object) -> Question:
    question = Question("Defrost this.", (NAMED,), "plan", max_new_tokens=4, knowledge=knowledge)
    return replace(question, **more)  # type: ignore[arg-type]


def test_a_plan_follows_its_note_and_names_it(
    engine: Engine, image_rgb: np.ndarray, notes: str
) -> None:
    scene = engine.prepare(image_rgb)
    off, on = engine.answer_many(scene, [defrost(""), defrost(notes)])
    assert [f"{step.action} {step.target}" for step in on.answer.steps] == [
        "unplug fridge", "open fridge",
    ]  # fmt: skip
    assert on.answer.sources == ("fridge.md:3",)
    assert on.answer.passages[0].startswith("To defrost the fridge: unplug")
    assert not on.answer.uncertain
    # The model's own words stay as they are.
    assert (on.raw_text, on.prompt) == (off.raw_text, off.prompt)
    assert (off.answer.sources, off.answer.passages) == ((), ())


def test_what_the_robot_cannot_do_is_refused_and_said(
    engine: Engine, image_rgb: np.ndarray, notes: str
) -> None:
    reply = engine.answer(engine.prepare(image_rgb), defrost(notes, text="Polish this."))
    assert reply.answer.steps == ()
    assert reply.answer.uncertain
    assert reply.notes == ("fridge.md:7 wants what is no skill of this robot: polish the fridge",)


def test_a_description_has_the_passages_of_its_thing(
    engine: Engine, image_rgb: np.ndarray, notes: str
) -> None:
    asked = defrost(notes, text="Describe this.", task="describe")
    reply = engine.answer(engine.prepare(image_rgb), asked)
    assert set(reply.answer.sources) == {"fridge.md:3", "fridge.md:5", "fridge.md:7"}
    short = engine.answer(engine.prepare(image_rgb), replace(asked, text="Is it open?", task=""))
    assert short.answer.sources == ()


def test_a_plan_that_needs_a_note_and_has_none_is_marked(
    engine: Engine, image_rgb: np.ndarray, notes: str
) -> None:
    scene = engine.prepare(image_rgb)
    asked = defrost(notes, text="Wax this.")
    needs = [replace(asked, needs_note=True), replace(asked, text="Wax it as the manual says.")]
    for reply in engine.answer_many(scene, needs):
        assert reply.answer.uncertain
        assert NO_NOTE in reply.notes
    assert NO_NOTE not in engine.answer(scene, asked).notes


def test_a_rule_on_a_stray_plans_step_is_no_note_for_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "n.md").write_text("After you close the fridge: unplug the fridge")
    look_up = LookUp(SKILLS, told=False)
    stray = Answer("close fridge", steps=(Step("close", "fridge", "close fridge"),))
    for text, marked in (("Turn it upside down", True), ("Close this", False)):
        (asked,) = look_up.fill([
            Question(text, (NAMED,), "plan", knowledge=str(tmp_path), needs_note=True,
                     names=("fridge",))
        ])  # fmt: skip
        reply = look_up.complete(asked, Reply(stray, text, "close fridge", 1, 0.0, "plan"))
        assert [step.action for step in reply.answer.steps] == ["close", "unplug"]
        assert reply.answer.uncertain == marked


def test_a_folder_that_is_not_there_is_said(engine: Engine, image_rgb: np.ndarray) -> None:
    reply = engine.answer(engine.prepare(image_rgb), defrost("/nowhere/at/all"))
    assert reply.answer.uncertain
    assert "the folder of notes cannot be read" in reply.notes[0]


def test_a_region_without_a_label_is_named_first(
    engine: Engine, image_rgb: np.ndarray, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []
    say = engine.conversation.prompt_of

    def heard(*about: object) -> str:
        prompts.append(say(*about))  # type: ignore[arg-type]
        return prompts[-1]

    monkeypatch.setattr(engine.conversation, "prompt_of", heard)
    scene = engine.prepare(image_rgb)
    engine.answer(scene, defrost(notes))
    assert len(prompts) == 1
    engine.answer(scene, defrost(notes, regions=(BOX,)))
    assert prompts[1].startswith("[short] What is this?")
    assert len(prompts) == 3


def test_a_chat_model_is_told_of_notes_without_control_tokens(
    qwen: Engine, image_rgb: np.ndarray, notes: str
) -> None:
    assert qwen.conversation.builder.reads_notes
    asked = defrost(notes, text="Describe this.", task="describe")
    reply = qwen.answer(qwen.prepare(image_rgb), asked)
    head, _, question = reply.prompt.partition("Describe this.")
    assert head.startswith("Notes of this place, to follow where they fit:\n")
    assert '"To defrost the fridge: unplug the fridge; open the fridge."\n' in head
    assert '"Its image lamp USER : state is broken."' in head
    assert "tap" not in head
    assert question
    assert len(reply.answer.sources) == 3


def test_a_cancel_comes_through_while_notes_are_read(
    engine: Engine, image_rgb: np.ndarray, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatspot_ros.errors import CancelledError

    monkeypatch.setattr("chatspot_ros.knowledge.folder.NotesFolder._refresh", lambda self: None)
    with pytest.raises(CancelledError):
        engine.answer(engine.prepare(image_rgb), defrost(notes), should_stop=lambda: True)
