"""Prompts of models that were trained on one fixed prompt for each task, and no conversation.

Florence-2, PaliGemma and Kosmos-2 answer these far better than free questions, or nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, model_validator

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.prompts import check_marks, check_question, control_strings, neutralise
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.errors import RequestError

_FIELD = re.compile(r"\{(\w+)\}")
_FIELDS = {"question", "regions", "thing"}
_ASKING = re.compile(
    r"^\s*(?:please\s+|(?:can|could|would) you\s+(?:please\s+)?)*(?:"
    r"where(?:'s|\s+is|\s+are|\s+do you see|\s+can (?:i|you) (?:find|see))"
    r"|find|locate|detect|pinpoint|mark|highlight|(?:show|tell) me where|show me"
    r"|point\s+(?:at|to|out)|(?:look|search) for"
    r"|(?:give|tell) me the (?:bounding )?box(?:es)? (?:of|around|for)"
    r"|draw (?:a |the )?(?:bounding )?box(?:es)? around"
    r"|what (?:is|are) the (?:place|position|location|coordinates|bounding box(?:es)?) of"
    r")\s+",
    re.IGNORECASE,
)
_IN_PICTURE = re.compile(
    r"\s+(?:in|on) (?:the|this) (?:picture|image|photo|scene)\b|(?<=\w)\s+(?:is|are)\s*$",
    re.IGNORECASE,
)
# A longer text without a wording of the search is no name of a thing.
_MOST_WORDS = 8


def find_thing(question: str) -> str:
    """Return the thing that a question asks to find, in its own words.

    Empty where the question has no known wording, nor is the name of a thing alone.
    """
    found = _ASKING.match(question)
    rest = question[found.end() :] if found else question
    if found is None and ("?" in question or len(question.split()) > _MOST_WORDS):
        return ""
    return _IN_PICTURE.sub("", rest.strip(" ?.!")).strip(" ?.!")


class TaskPrompts(BaseModel):
    """One prompt for each task (a name of tasks.TASKS): about the picture, about regions.

    In a prompt `{question}` becomes the user's words with the regions in their places, `{regions}`
    the regions alone, `{thing}` what a question asks to find. A task without a prompt is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    picture: dict[str, str]
    region: dict[str, str]

    @model_validator(mode="after")
    def _is_known(self) -> TaskPrompts:
        for prompts in (self.picture, self.region):
            unknown = [task for task in prompts if task not in TASKS]
            fields = {name for text in prompts.values() for name in _FIELD.findall(text)}
            if unknown or fields - _FIELDS:
                raise ValueError(f"there is no {', '.join([*unknown, *(fields - _FIELDS)])}")
        return self

    def find(self, task: str, about_regions: bool) -> str:
        """Return the prompt. Raises RequestError where the model has none for the task."""
        prompts = self.region if about_regions else self.picture
        if task not in prompts:
            what = "a region" if about_regions else "the whole picture"
            raise RequestError(
                f"the model cannot answer this kind of question about {what}",
                value=f"task '{task}'",
                remedy=f"ask for one of {', '.join(name or 'a short answer' for name in prompts)}, "
                "or use a model that takes free questions",
            )
        return prompts[task]

    def takes(self, question: str, task: str, about_regions: bool) -> bool:
        """Return whether there is a prompt for the task that can say this question."""
        prompt = (self.region if about_regions else self.picture).get(task, "")
        return bool(prompt) and ("{thing}" not in prompt or bool(find_thing(question)))

    def wordless(self) -> str:
        """Return a prompt that holds no word of the question; empty: there is none."""
        said = [*self.picture.values(), *self.region.values()]
        return next((one for one in said if not {"question", "thing"} & {*_FIELD.findall(one)}), "")

    def ignores(self, task: str, about_regions: bool) -> str:
        """Return a sentence on what of a question the model does not read; empty: nothing."""
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
    task_prompts: TaskPrompts,
    *,
    control: Iterable[str] = (),
) -> str:
    """Return the prompt as the model reads it; `prompts.build` does the same for models that chat.

    A single region without a `<region>` in the question stands before it. Raises RequestError.
    """
    check_question(question)
    said = [dialect.say(region, fit) for region in regions]
    pieces = question.strip().split(REGION_MARK)
    if len(pieces) == 1 and len(regions) == 1:
        pieces = ["", f" {pieces[0]}" if said[0] else pieces[0]]
    check_marks(question, pieces, regions)
    forbidden = (*control_strings(), *dialect.control_strings, *control)
    words = [neutralise(piece, forbidden) for piece in pieces]
    asked = words[0] + "".join(text + word for text, word in zip(said, words[1:], strict=True))
    bare = "".join(words)
    thing = find_thing(bare) or bare.strip(" ?.!")
    values = {"question": asked, "regions": "".join(said), "thing": thing}
    prompt = task_prompts.find(task, about_regions=any(said))
    return _FIELD.sub(lambda match: values[match[1]], prompt)
