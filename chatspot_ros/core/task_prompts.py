"""Prompts of models that were taught a fixed phrase for each task, and no conversation.

Florence-2, PaliGemma and Kosmos-2 answer such phrases far better than free questions, or only them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, model_validator

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.prompts import (
    CONTROL_STRINGS,
    MAX_QUESTION_CHARS,
    TASKS,
    check_question,
    neutralise,
)
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.errors import RequestError

_FIELD = re.compile(r"\{(\w+)\}")
_FIELDS = {"question", "regions", "thing"}
_ASKING = re.compile(
    r"^\s*(?:please\s+)?(?:where\s+(?:is|are|do you see)|(?:can you )?(?:find|locate|show me)|"
    r"point\s+(?:at|to)|(?:give|tell) me the box of)\s+|\s+(?:in|on) (?:the|this) "
    r"(?:picture|image|photo)\b",
    re.IGNORECASE,
)


class Phrases(BaseModel):
    """A phrase for each task (a name of prompts.TASKS): about the picture, about regions.

    In a phrase `{question}` becomes the user's words with the regions in their places, `{regions}`
    the regions alone, `{thing}` what a question asks to find. A task without a phrase is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    picture: dict[str, str]
    region: dict[str, str]

    @model_validator(mode="after")
    def _is_known(self) -> Phrases:
        for phrases in (self.picture, self.region):
            unknown = [task for task in phrases if task not in TASKS]
            fields = {name for text in phrases.values() for name in _FIELD.findall(text)}
            if unknown or fields - _FIELDS:
                raise ValueError(f"there is no {', '.join([*unknown, *(fields - _FIELDS)])}")
        return self

    def find(self, task: str, about_regions: bool) -> str:
        """Return the phrase. Raises RequestError where the model knows none for the task."""
        phrases = self.region if about_regions else self.picture
        if task not in phrases:
            what = "a region" if about_regions else "the whole picture"
            raise RequestError(
                f"the model cannot answer this kind of question about {what}",
                value=f"task '{task}'",
                remedy=f"ask for one of {', '.join(name or 'a short answer' for name in phrases)}, "
                "or use a model that takes free questions",
            )
        return phrases[task]

    def ignores(self, task: str, about_regions: bool) -> str:
        """What of a question the model will not read, as a sentence for people; empty: nothing."""
        fields = set(_FIELD.findall(self.find(task, about_regions)))
        if fields & {"question", "thing"}:
            return ""
        return "the model knows fixed tasks only: the question's own words were not read"


def build(
    question: str,
    regions: Sequence[Region],
    task: str,
    fit: Fit,
    dialect: Dialect,
    phrases: Phrases,
    *,
    control_strings: Iterable[str] = (),
    max_chars: int = MAX_QUESTION_CHARS,
) -> str:
    """Return the prompt as the model reads it, as `prompts.build` does for models that chat.

    A lone region without a `<region>` in the question stands before it. Raises RequestError.
    """
    check_question(question, max_chars)
    said = [dialect.say(region, fit) for region in regions]
    pieces = question.strip().split(REGION_MARK)
    if len(pieces) == 1 and len(regions) == 1:
        pieces = ["", f" {pieces[0]}" if said[0] else pieces[0]]
    if len(pieces) - 1 != len(regions):
        raise RequestError(
            f"the question has {len(pieces) - 1} {REGION_MARK} for {len(regions)} regions",
            value=question,
            remedy=f"write as many {REGION_MARK} as there are regions",
        )
    forbidden = (*CONTROL_STRINGS, *dialect.control_strings, *control_strings)
    words = [neutralise(piece, forbidden) for piece in pieces]
    asked = words[0] + "".join(text + word for text, word in zip(said, words[1:], strict=True))
    thing = _ASKING.sub("", "".join(words)).strip(" ?.!")
    values = {"question": asked, "regions": "".join(said), "thing": thing}
    phrase = phrases.find(task, about_regions=any(said))
    return _FIELD.sub(lambda match: values[match[1]], phrase)
