"""Token ids of a conversation about one picture, and a check for control tokens of users."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from chatspot_ros.core import reasoning
from chatspot_ros.engine.api import Turn
from chatspot_ros.engine.loading.chat_templates import render
from chatspot_ros.engine.loading.template_trial import find_endless
from chatspot_ros.errors import ModelLoadError, RequestError

_MARKUP = "<>[]{}|"
_REASONING_END = f"\n{reasoning.CLOSING}\n\n"
# Tokenized picture texts that are kept: one for each size of picture.
_PICTURES = 32


@dataclass(frozen=True)
class _Picture:
    """A picture's text as `ids`, with its first and last token as text and as ids."""

    ends: str
    end_ids: list[int]
    ids: list[int]


class ChatTemplate:
    """The chat format of one checkpoint: its template, tokenizer and control tokens."""

    def __init__(
        self,
        tokenizer: Any,
        chat_template: str,
        image_token_id: int,
        spoken: tuple[str, ...] = (),
        placeholder: str = "",
        opening: str = "",
        faults: str = "",
    ) -> None:
        """`image_token_id` stands for one vision feature; `spoken` are control strings that answers
        contain, such as those of the dialect. `placeholder` is the template's token for the
        picture, empty: the image token; `opening` the text at the start of every conversation,
        where the template leaves it out. `faults` says what is wrong with templates that were
        passed over. Raises ModelLoadError.
        """
        self.tokenizer = tokenizer
        self._fast = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        if self._fast is not None:
            self._fast.no_truncation()
            self._fast.no_padding()
        self.image_token_id = image_token_id
        self._template = chat_template
        self._image_token = str(tokenizer.convert_ids_to_tokens(image_token_id))
        self._placeholder = placeholder or self._image_token
        self._opening = opening
        self._read_control_tokens(spoken)
        self._pictures: dict[str, _Picture | None] = {}
        self._check_template(faults)

    def _read_control_tokens(self, spoken: tuple[str, ...]) -> None:
        """Tell control tokens from words; an answer may contain those that are `spoken`."""
        tokens = {int(i): token for i, token in self.tokenizer.added_tokens_decoder.items()}
        added = {i: str(token.content) for i, token in tokens.items()}
        special = {*self.tokenizer.all_special_ids}
        special |= {i for i, token in tokens.items() if token.special}
        control = {i: text for i, text in added.items() if i in special or set(text) & set(_MARKUP)}
        self._control_ids = frozenset(control)
        # Strings that users may not write.
        self.control_strings = tuple(sorted(text for text in control.values() if text.strip()))
        self._ends = tuple(text for i, text in added.items() if i in special and text.strip())
        self._closing_id = next((i for i, text in added.items() if text == reasoning.CLOSING), None)
        # Tokens that end or pad a text.
        said = {*spoken, reasoning.OPENING, reasoning.CLOSING}
        self._silent_ids = special - {i for i, text in added.items() if text in said}

    def _check_template(self, faults: str) -> None:
        """Raise ModelLoadError unless the template writes the picture once."""
        if not self._template:
            raise ModelLoadError(
                f"the checkpoint has no chat template{' that can carry a picture' * bool(faults)}",
                value=faults or self.tokenizer.name_or_path,
                remedy="add a chat_template.jinja, or give chat_template in its chatspot.yaml",
            )
        if endless := find_endless(self.tokenizer, self._template):
            raise ModelLoadError(
                f"the chat template: {endless}",
                value=self.tokenizer.name_or_path,
                remedy="use the template that came with the model",
            )
        try:
            shown = self._text("a", ())
        except RequestError as error:
            raise ModelLoadError(error.problem, value=error.value, remedy="mend it") from error
        try:
            self._text("a", (Turn("a", "b"), Turn("c", "d")))
        except RequestError as error:
            # A template may refuse several turns in words of its own, by `raise_exception`.
            if type(error.__cause__) is not TemplateError:
                raise ModelLoadError(error.problem, value=error.value, remedy="mend it") from error
        # Whether the template opens a reasoning before each answer.
        self.reasons = reasoning.is_open(shown)
        if shown.count(self._placeholder) != 1:
            raise ModelLoadError(
                "the chat template does not place the picture once",
                value=shown[:200],
                remedy=f"write a template that says {self._placeholder} where the picture goes",
            )

    def encode(self, user_text: str, turns: tuple[Turn, ...], image_tokens: int | str) -> list[int]:
        """Return the ids of the conversation up to the beginning of the model's answer.

        The picture stands in the first turn: the image token `image_tokens` times, or that whole
        text where the family writes more. Raises RequestError where the template refuses the
        conversation.
        """
        text = self._text(user_text, turns)
        shown = self.picture_text(image_tokens)
        picture = self._picture(shown)
        if picture is None:
            return self._ids(text.replace(self._placeholder, shown, 1))
        # A picture is hundreds of tokens; tokenizing it takes longer than the question.
        ids = self._ids(text.replace(self._placeholder, picture.ends, 1))
        place = _find(ids, picture.end_ids)
        return [*ids[:place], *picture.ids, *ids[place + len(picture.end_ids) :]]

    def _picture(self, shown: str) -> _Picture | None:
        """Return a picture's text tokenized; None where it must be tokenized with the rest.

        A text that begins and ends with control tokens can stand alone: tokenizers split at these
        first, so the text around it does not depend on it.
        """
        if shown not in self._pictures:
            if len(self._pictures) >= _PICTURES:
                self._pictures.clear()
            self._pictures[shown] = None if self._fast is None else self._cut(shown)
        return self._pictures[shown]

    def _cut(self, shown: str) -> _Picture | None:
        ids = [int(i) for i in self.tokenizer.encode(shown, add_special_tokens=False)]
        end_ids = [ids[0], ids[-1]] if len(ids) > 1 else ids
        names = [str(self.tokenizer.convert_ids_to_tokens(i)) for i in end_ids]
        apart = (
            bool(ids)
            and self._control_ids.issuperset(end_ids)
            and shown.startswith(names[0])
            and shown.endswith(names[-1])
        )
        return _Picture("".join(names), end_ids, ids) if apart else None

    def example(
        self, turns: tuple[Turn, ...], image_tokens: int | str
    ) -> tuple[list[int], list[bool]]:
        """Return the ids of a whole conversation, and a mask of the ids to train on.

        These are the answers, each with its end token. Raises ModelLoadError where the template
        changes earlier turns.
        """
        text = self._render(turns, answered=len(turns))
        shown = self.picture_text(image_tokens)
        shift = len(shown) - len(self._placeholder)
        spans = []
        for k, turn in enumerate(turns):
            asked = self._render(turns[: k + 1], answered=k)
            said = text.find(turn.answer_text, len(asked))
            if not text.startswith(asked) or text[len(asked) : said].strip():
                raise ModelLoadError(
                    "the chat template changes earlier turns, so answers cannot be told apart",
                    value=asked[-200:],
                    remedy="use a template that only appends",
                )
            end = said + len(turn.answer_text)
            closing = max((e for e in self._ends if text.startswith(e, end)), key=len, default="")
            spans.append((len(asked) + shift, end + len(closing) + shift))
        encoded = self.tokenizer(
            text.replace(self._placeholder, shown, 1),
            add_special_tokens=self._adds_begin(text),
            return_offsets_mapping=True,
        )
        said_by_model = [
            any(start <= low and high <= end and high > low for start, end in spans)
            for low, high in encoded["offset_mapping"]
        ]
        return [int(i) for i in encoded["input_ids"]], said_by_model

    @property
    def silent_ids(self) -> frozenset[int]:
        """Return the tokens of the chat that are no part of an answer's text."""
        return frozenset(self._silent_ids)

    def decode(self, ids: list[int]) -> str:
        """Return the text of answer ids, without the chat's control tokens."""
        kept = [i for i in ids if i not in self._silent_ids]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def answer_ids(self, text: str) -> list[int]:
        """Return the ids by which the model would say a text as its answer."""
        opened = self._text("a", ())
        said = self._render((Turn("a", "b"),), answered=1)
        lead = " " if said.startswith(f"{opened} b") else ""
        opened += _REASONING_END if self.reasons else ""
        before, ids = self._ids(opened), self._ids(f"{opened}{lead}{text}")
        if ids[: len(before)] == before:
            return ids[len(before) :]
        return [int(i) for i in self.tokenizer.encode(f"{lead}{text}", add_special_tokens=False)]

    @property
    def end_of_reasoning(self) -> list[int]:
        """Return the ids that end a reasoning which the template has opened, without any words."""
        ids = self.tokenizer.encode(_REASONING_END, add_special_tokens=False)
        return [int(i) for i in ids]

    def answer_start(self, ids: list[int]) -> int | None:
        """Return the index of the first id behind the last closing tag; None: there is none."""
        if self._closing_id in ids:
            return len(ids) - ids[::-1].index(self._closing_id)
        if self._closing_id is not None or reasoning.CLOSING not in self.decode(ids):
            return None
        # A tag of several tokens: the first end with as many tags as the whole has.
        count = self.decode(ids).count(reasoning.CLOSING)
        ends = range(1, len(ids) + 1)
        return bisect_left(ends, count, key=lambda end: self._tags_in(ids[:end])) + 1

    def _tags_in(self, ids: list[int]) -> int:
        return self.decode(ids).count(reasoning.CLOSING)

    def check_words(self, user_text: str, scaffold: str) -> None:
        """Raise RequestError if the text has other control tokens than its scaffold.

        The scaffold is the same turn without the user's words. `prompts.neutralise` works on
        characters; this check sees the model's tokens.
        """
        said = self._control_counts(user_text)
        meant = self._control_counts(scaffold)
        if said != meant:
            smuggled = [str(self.tokenizer.convert_ids_to_tokens(i)) for i in said - meant]
            raise RequestError(
                "the question holds control tokens of the model",
                value=", ".join(smuggled) or user_text,
                remedy="ask in plain words",
            )

    def holds_control_tokens(self, text: str) -> bool:
        """Return whether a text, which no user wrote, becomes a control token of the model."""
        return bool(self._control_counts(text))

    def _control_counts(self, text: str) -> Counter[int]:
        return Counter(i for i in self._ids(text) if i in self._control_ids)

    def _ids(self, text: str) -> list[int]:
        add_begin = self._adds_begin(text)
        if self._fast is not None:
            # The wrapper of transformers takes as long as a short text itself.
            ids: list[int] = self._fast.encode(text, add_special_tokens=add_begin).ids
            return ids
        return [int(i) for i in self.tokenizer.encode(text, add_special_tokens=add_begin)]

    def picture_text(self, image_tokens: int | str) -> str:
        """Return what stands for a picture in a prompt; a text stays as it is."""
        return self._image_token * image_tokens if isinstance(image_tokens, int) else image_tokens

    def _adds_begin(self, text: str) -> bool:
        """Return True if the tokenizer must add the begin token: the template has not written it.

        Some templates write it behind the picture; users cannot write it.
        """
        bos = self.tokenizer.bos_token
        return not (bos and bos in text)

    def _text(self, user_text: str, turns: tuple[Turn, ...]) -> str:
        return self._render((*turns, Turn(user_text, "")), answered=len(turns))

    def _render(self, turns: tuple[Turn, ...], answered: int) -> str:
        """Return the conversation as text, with `answered` answers; the opening of the next answer
        follows where there are more turns."""
        messages = _messages(turns, answered)
        try:
            text = render(self.tokenizer, self._template, messages, answered < len(turns))
        except MemoryError:  # a trial within bounds must see it
            raise
        except Exception as error:  # a template is a program: any error may come of it
            raise RequestError(
                f"the model's chat template refuses the conversation: {error}",
                value=f"{len(turns)} turns",
                remedy="ask without a session",
            ) from error
        return text if text.startswith(self._opening) else f"{self._opening}{text}"


def _messages(turns: Sequence[Turn], answered: int) -> list[dict[str, Any]]:
    """Return the turns, the first `answered` with their answers, and the picture in the first."""
    messages: list[dict[str, Any]] = []
    for k, turn in enumerate(turns):
        content: list[dict[str, str]] = [{"type": "text", "text": turn.user_text}]
        if not messages:
            content.insert(0, {"type": "image"})
        messages.append({"role": "user", "content": content})
        if k < answered:
            said = [{"type": "text", "text": turn.answer_text}]
            messages.append({"role": "assistant", "content": said})
    return messages


def _find(ids: list[int], part: list[int]) -> int:
    """Return the index of the first occurrence of a part of a list."""
    return next(k for k in range(len(ids)) if ids[k : k + len(part)] == part)


class TextStream:
    """Decodes growing answer ids into pieces of text that stay valid.

    The pieces concatenate to the final text, without spaces at its ends. A character whose bytes
    span several tokens comes when it is complete. Reasoning before the answer is no part of it;
    where it does not end, all of it comes last.
    """

    def __init__(self, chat: ChatTemplate) -> None:
        self._chat = chat
        self._sent = ""

    def add(self, ids: list[int]) -> str:
        """Return the text added by all ids so far."""
        whole = self._chat.decode(ids).lstrip()
        if reasoning.may_begin(whole):
            return ""
        text = reasoning.answer_of(whole, self._chat.reasons)
        # An unfinished character decodes to U+FFFD; trailing spaces may be the end of the answer.
        return self._advance((text or "").rstrip("\ufffd").rstrip())

    def finish(self, ids: list[int]) -> tuple[str, str]:
        """Return the last piece and the whole text."""
        whole = self._chat.decode(ids).strip()
        answered = reasoning.answer_of(whole, self._chat.reasons)
        added = self._advance(whole if answered is None else answered)
        return added, self._sent

    def _advance(self, text: str) -> str:
        if len(text) <= len(self._sent) or not text.startswith(self._sent):
            return ""
        added = text[len(self._sent) :]
        self._sent = text
        return added
