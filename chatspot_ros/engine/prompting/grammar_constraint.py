"""Answers under a grammar: the allowed next tokens, computed by xgrammar (arXiv 2411.15100).

The grammar holds for the text of an answer, in any tokenization. So the likeliest tokens are the
same as without a grammar wherever these make a valid answer.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from xgrammar import (
    CompiledGrammar,
    Grammar,
    GrammarCompiler,
    GrammarMatcher,
    TokenizerInfo,
    VocabType,
    allocate_token_bitmask,
)

from chatspot_ros.core.answer_grammars import LEAD
from chatspot_ros.core.json_schema import JsonSchema
from chatspot_ros.engine.prompting.token_texts import token_texts
from chatspot_ros.errors import ModelLoadError, RequestError, one_line, shorten

# From an answer's ids to the index of the first one behind its reasoning; None: it has not ended.
StartOf = Callable[[list[int]], int | None]
# Empty lines between the reasoning and the answer.
_MOST_BLANKS = 3
_MOST_SCHEMAS = 32
_SPACE = 0x20


class Grammars:
    """The grammars of one tokenizer; each is compiled once."""

    def __init__(
        self, tokenizer: Any, end_ids: Iterable[int], silent_ids: Iterable[int], size: int
    ) -> None:
        """`end_ids` end an answer, `silent_ids` are never allowed in its text; `size` is the number
        of logits.

        Raises:
            ModelLoadError: a tokenizer whose tokens have no texts of their own.
        """
        ends = sorted(set(end_ids))
        self.size = max(size, len(tokenizer))
        try:
            texts = token_texts(tokenizer, ends, self.size)
        except (ValueError, RuntimeError) as error:
            raise ModelLoadError(
                f"answers cannot be held to a grammar with this tokenizer: {error}",
                value=type(tokenizer).__name__,
                remedy="set the parameter constrain_answers to false",
            ) from error
        for index in set(silent_ids) - set(ends):
            # A token without a text is never allowed.
            texts[index] = b""
        blank = (k for k, text in enumerate(texts) if text and not text.strip())
        self._blank = bits_of(blank, self.size)
        self._ends, self._controls = bits_of(ends, self.size), control_bits(texts, self.size)
        self._compiler = GrammarCompiler(
            TokenizerInfo(texts, VocabType.RAW, vocab_size=self.size, stop_token_ids=ends),
            max_threads=min(8, os.cpu_count() or 1),
        )
        self._compiled: dict[str, CompiledGrammar] = {}
        # Schemas come from callers: the last ones are kept.
        self._schemas: OrderedDict[JsonSchema, CompiledGrammar] = OrderedDict()

    def start(self, grammar: str | JsonSchema) -> GrammarConstraint:
        """Return the constraint of a new answer.

        Raises:
            ValueError: it is no grammar.
            RequestError: a grammar cannot hold the schema.
        """
        if isinstance(grammar, JsonSchema):
            return GrammarConstraint(self._of_schema(grammar), self.size, self._controls)
        if grammar not in self._compiled:
            try:
                self._compiled[grammar] = self._compiler.compile_grammar(grammar)
            except RuntimeError as error:
                raise ValueError(f"not a grammar: {error}") from error
        return GrammarConstraint(self._compiled[grammar], self.size)

    def _of_schema(self, schema: JsonSchema) -> CompiledGrammar:
        if schema not in self._schemas:
            try:
                self._schemas[schema] = self._compiler.compile_grammar(json_grammar(schema))
            except RuntimeError as error:
                raise RequestError(
                    f"the JSON schema cannot be used at #: {one_line(str(error))}",
                    value=shorten(schema.text), remedy="write it in another way",
                ) from error  # fmt: skip
            while len(self._schemas) > _MOST_SCHEMAS:
                self._schemas.popitem(last=False)
        self._schemas.move_to_end(schema)
        return self._schemas[schema]

    def behind(self, constraint: GrammarConstraint, start_of: StartOf) -> ReasoningConstraint:
        """Return a constraint that begins behind the answer's reasoning.

        `start_of(ids)` returns the index of the first token behind it, None while it goes on.
        """
        return ReasoningConstraint(constraint, start_of, self._blank, self._ends)


def json_grammar(schema: JsonSchema) -> Grammar:
    """Return the grammar of JSON on one line that follows a schema, its keys in their order.

    Raises RuntimeError for a schema that it cannot hold.
    """
    held = Grammar.from_json_schema(
        schema.text, any_whitespace=False, separators=(", ", ": "), strict_mode=True
    )
    return Grammar.concat(Grammar.from_ebnf(f"root ::= {LEAD}"), held)


def control_bits(texts: Sequence[bytes], size: int) -> Tensor:
    """Return a mask of the tokens that hold a control character.

    No JSON on one line has one. In xgrammar 0.2 texts with lengths may hold them.
    """
    return bits_of((k for k, text in enumerate(texts) if text and min(text) < _SPACE), size)


class GrammarConstraint:
    """The grammar constraint of one answer."""

    def __init__(self, grammar: CompiledGrammar, size: int, never: Tensor | None = None) -> None:
        """`size` is the number of logits; `never` are the bits of tokens that the answer has not,
        whatever the grammar says."""
        self._matcher, self._never = GrammarMatcher(grammar), never
        self._bits = allocate_token_bitmask(1, size)
        self._ids: list[int] = []

    def allow(self, ids: list[int], bits: torch.Tensor) -> None:
        """Write the tokens that may follow `ids`; see `decoding_types.Constraint`.

        Raises:
            RuntimeError: no answer of this grammar begins with `ids`.
        """
        self._follow(ids)
        self._matcher.fill_next_token_bitmask(self._bits)
        words = min(len(bits), self._bits.shape[1])
        bits[:words] = self._bits[0, :words]
        bits[words:] = 0
        if self._never is not None:
            bits[:words] &= ~self._never[:words]

    def _follow(self, ids: list[int]) -> None:
        """Advance the matcher to the end of `ids`; restart it where they do not continue."""
        if ids[: len(self._ids)] != self._ids:
            self._matcher.reset()
            self._ids = []
        for token in ids[len(self._ids) :]:
            if not self._matcher.accept_token(token):
                raise RuntimeError(f"token {token} is not allowed behind {self._ids}")
            self._ids.append(token)


class ReasoningConstraint:
    """The constraint of an answer behind its reasoning: free text that must end."""

    def __init__(
        self, answer: GrammarConstraint, start_of: StartOf, blank: Tensor, ends: Tensor
    ) -> None:
        """`blank` and `ends` are the bits of the tokens that are empty lines, and that end."""
        self._answer, self._start_of = answer, start_of
        self._blank, self._ends = blank, ends

    def allow(self, ids: list[int], bits: Tensor) -> None:
        """Write the tokens that may follow `ids`; see `decoding_types.Constraint`.

        Raises:
            RuntimeError: no answer of the grammar begins with what follows the reasoning.
        """
        start = self._start_of(ids)
        if start is None:
            bits[:] = -1
            words = min(len(bits), len(self._ends))
            bits[:words] &= ~self._ends[:words]
            return
        said = ids[start:]
        blanks = next((k for k, one in enumerate(said) if not is_in(self._blank, one)), len(said))
        # What the grammar allows in front, such as a space, is skipped with the empty lines.
        self._answer.allow(said[blanks:], bits)
        if blanks == len(said) and blanks < _MOST_BLANKS:
            words = min(len(bits), len(self._blank))
            bits[:words] |= self._blank[:words]


def bits_of(ids: Iterable[int], size: int) -> Tensor:
    """Return a mask of token ids below `size`, 32 to an int32, the lowest bits first."""
    bits = np.zeros(-(-size // 32) * 32, np.uint8)
    bits[list(ids)] = 1
    return torch.from_numpy(np.packbits(bits, bitorder="little").view(np.int32))


def is_in(bits: Tensor, index: int) -> bool:
    """Return whether a token id is in a mask."""
    return bool(int(bits[index // 32]) >> index % 32 & 1)
