"""The settings of a checkpoint's generation_config.json that greedy decoding leaves out."""

from __future__ import annotations

from typing import Any

# With the value that changes nothing. Sampling (temperature, top_p, ...) is left out by intent.
_NEUTRAL = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "num_beams": 1,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "min_new_tokens": None,
    "min_length": 0,
    "guidance_scale": None,
}


def unused(generation_config: Any) -> dict[str, Any]:
    """Return the settings, with their values, that would change an answer and are not used."""
    values = {name: getattr(generation_config, name, None) for name in _NEUTRAL}
    return {
        name: value
        for name, value in values.items()
        if value not in (None, _NEUTRAL[name]) and value != []
    }
