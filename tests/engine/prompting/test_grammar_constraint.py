"""Answers under a grammar: what may follow, and that nothing else changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.tasks import TaskContext, find_task
from chatspot_ros.engine.decoding.greedy import constrain, likeliest
from chatspot_ros.engine.prompting.grammar_constraint import GrammarConstraint, Grammars
from chatspot_ros.errors import ModelLoadError

SKILLS = ("open", "pick", "turn_on")
STATES = {"door": ("open", "closed"), "plug": ("in", "out")}
# Models pad their vocabulary, to no multiple of 32 at that.
PADDING = 37


@pytest.fixture(scope="module")
def tokenizer(root: Path) -> Any:
    return AutoTokenizer.from_pretrained(root / "models" / "chatspot-tiny")


@pytest.fixture(scope="module")
def grammars(tokenizer: Any) -> Grammars:
    silent = set(tokenizer.all_special_ids)
    return Grammars(tokenizer, [tokenizer.eos_token_id], silent, len(tokenizer) + PADDING)


def constraint_of(grammars: Grammars, task: str) -> GrammarConstraint:
    dialect = ChatSpotDialect()
    grammar = find_task(task).grammar(TaskContext(dialect, SKILLS, STATES))
    assert grammar is not None
    return grammars.start(grammar)


def allowed(constraint: GrammarConstraint, ids: list[int], size: int) -> set[int]:
    logits = torch.zeros(1, size)
    finite = constrain(logits, [(constraint, ids)]).isfinite()
    return set(finite[0].nonzero()[:, 0].tolist())


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("state", "door: open, plug: in"),
        ("plan", "open fridge; pick red cola; turn_on stove"),
        ("plan", "nothing to do"),
        ("locate", "red mug <box> 0.12 0.34 0.56 0.78</box>"),
        ("locate", "<box> 0.12 0.34 0.56 1.00</box>"),
        ("locate", "there is no mug here"),
    ],
)
def test_the_tokens_of_valid_answers_are_allowed_one_by_one(
    grammars: Grammars, tokenizer: Any, task: str, text: str
) -> None:
    constraint = constraint_of(grammars, task)
    for lead in ("", " "):
        ids = tokenizer.encode(lead + text, add_special_tokens=False)
        for k, token in enumerate(ids):
            assert token in allowed(constraint, ids[:k], grammars.size)
        assert tokenizer.eos_token_id in allowed(constraint, ids, grammars.size)


def test_only_texts_of_the_grammar_may_follow(grammars: Grammars, tokenizer: Any) -> None:
    ids = tokenizer.encode("door: open, plug: ", add_special_tokens=False)
    texts = {tokenizer.decode([i]) for i in allowed(constraint_of(grammars, "state"), ids,
                                                    grammars.size)}  # fmt: skip
    assert {"i", "in", "o", "out"} & texts
    assert all(any(word.startswith(text) for word in ("in", "out")) for text in texts)


def test_an_answer_may_not_end_in_the_middle(grammars: Grammars, tokenizer: Any) -> None:
    constraint = constraint_of(grammars, "state")
    for text in ("", "door", "door: open,"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.eos_token_id not in allowed(constraint, ids, grammars.size)


def test_tokens_without_a_text_are_never_said(grammars: Grammars, tokenizer: Any) -> None:
    # A phrase may have any words, and `USER:` is one by its letters.
    silent = {*tokenizer.all_special_ids, *range(len(tokenizer), grammars.size)}
    silent -= {tokenizer.eos_token_id}
    for task, text in (("plan", "open "), ("locate", ""), ("locate", "red ")):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert not allowed(constraint_of(grammars, task), ids, grammars.size) & silent


def test_a_control_token_that_reads_like_words_is_no_word(tokenizer: Any) -> None:
    word = tokenizer.encode(" mug", add_special_tokens=False)[-1]
    both = [Grammars(tokenizer, [tokenizer.eos_token_id], silent, len(tokenizer))
            for silent in ((), (word,))]  # fmt: skip
    ids = tokenizer.encode("open", add_special_tokens=False)
    said = [word in allowed(constraint_of(one, "plan"), ids, one.size) for one in both]
    assert said == [True, False]


def test_a_constraint_follows_whatever_answer_it_is_asked_about(
    grammars: Grammars, tokenizer: Any
) -> None:
    constraint = constraint_of(grammars, "state")
    door = tokenizer.encode("door: open", add_special_tokens=False)
    plug = tokenizer.encode("plug: in", add_special_tokens=False)
    for ids in (door, plug, door[:2], [], door):
        fresh = constraint_of(grammars, "state")
        assert allowed(constraint, ids, grammars.size) == allowed(fresh, ids, grammars.size)
    with pytest.raises(RuntimeError, match="not allowed"):
        allowed(constraint, door * 2, grammars.size)


def test_rows_have_constraints_of_their_own(grammars: Grammars) -> None:
    size = grammars.size
    logits = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    one, two = (constraint_of(grammars, task) for task in ("state", "plan"))
    got = constrain(logits, [(one, []), (None, []), (two, []), (None, [3])])
    for row, task in ((0, "state"), (2, "plan")):
        alone = constrain(logits[row : row + 1], [(constraint_of(grammars, task), [])])
        assert torch.equal(got[row], alone[0])
    assert torch.equal(got[[1, 3]], logits[[1, 3]])
    assert constrain(logits, [(None, [])] * 4) is logits


def test_the_likeliest_that_is_allowed_has_its_probability_among_all(
    grammars: Grammars, tokenizer: Any
) -> None:
    constraint = constraint_of(grammars, "state")
    size = grammars.size
    logits = torch.zeros(size)
    logits[tokenizer.eos_token_id] = 9.0
    expected = min(allowed(constraint, [], size))
    logits[expected] = 4.0
    broken = torch.full((size,), math.nan)
    held, free, bad = likeliest(
        torch.stack([logits, logits, broken]), [(constraint, []), (None, []), (None, [])]
    )
    assert held == (expected, pytest.approx(float(logits.log_softmax(-1)[expected])))
    assert free[0] == tokenizer.eos_token_id
    assert math.isnan(bad[1])


def test_a_vocabulary_of_another_size_than_the_logits(grammars: Grammars, tokenizer: Any) -> None:
    constraint = constraint_of(grammars, "state")
    short, long = len(tokenizer), grammars.size + 100
    assert allowed(constraint, [], short) == allowed(constraint, [], long)


@pytest.mark.gpu
def test_the_mask_goes_where_the_logits_are(grammars: Grammars) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    logits = torch.randn(2, grammars.size, generator=torch.Generator().manual_seed(0))
    answers = [(constraint_of(grammars, task), []) for task in ("state", "plan")]
    on_gpu = constrain(logits.cuda(), answers)
    assert on_gpu.is_cuda
    assert torch.equal(on_gpu.cpu(), constrain(logits, answers))


def test_what_is_no_grammar_or_no_tokenizer_is_refused(grammars: Grammars) -> None:
    with pytest.raises(ValueError, match="not a grammar"):
        grammars.start("root ::= (")
    with pytest.raises(ModelLoadError, match="constrain_answers"):
        Grammars([], [0], [], 5)
