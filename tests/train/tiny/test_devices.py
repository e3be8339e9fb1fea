"""Losses on a CUDA host: no tensor is made on the CPU to be joined with those of the batch."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.patch_labels import CELLS, FIELDS, GLYPHS, PARTS
from chatspot_train.tiny.vision_stage import VisionPretraining
from tests.train.tiny.test_dialogue_losses import COUNT, NAME, DialogueLosses, batch, build_model
from tests.train.tiny.test_vision_stage import SHAPE

# These make a tensor where nobody says on which device: on the CPU.
_FACTORIES = {torch.tensor, torch.zeros, torch.ones, torch.full, torch.arange, torch.empty}


def make() -> torch.Tensor:
    return torch.tensor(1)


class DeviceGiven(TorchFunctionMode):
    """Fails where code of this project makes a tensor without a device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES and kwargs.get("device") is None:
            caller = sys._getframe(1).f_code
            assert "chatspot_train" not in caller.co_filename, (caller.co_filename, caller.co_name)
        return func(*args, **kwargs)


def test_the_guard_sees_a_tensor_of_the_cpu() -> None:
    code = make.__code__.replace(co_filename="chatspot_train/example.py")
    with pytest.raises(AssertionError, match="example"), DeviceGiven():
        FunctionType(code, globals())()


def test_the_dialogue_stage(settings: TinySettings) -> None:
    from transformers import PreTrainedTokenizerFast

    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    model = DialogueLosses(build_model(settings, bundled, None))
    inputs = batch([NAME, COUNT], 2)
    with DeviceGiven():
        model(**inputs)["loss"].backward()


@pytest.mark.parametrize("known", [True, False])
def test_the_vision_stage(known: bool) -> None:
    model = VisionPretraining(SHAPE)
    kinds = torch.zeros(1, 4, model.kinds.out_features)
    kinds[..., 1] = 1.0
    number = float(known) if known else np.nan
    inputs = {
        "kinds": kinds, "fields": torch.full((1, 4, len(FIELDS)), 1 if known else IGNORE),
        "box": torch.full((1, 4, 4), 0.1 if known else np.nan),
        "parts": torch.full((1, 4, len(PARTS)), number), "weight": torch.ones(1, 4),
        "cells": torch.full((1, 4, CELLS * CELLS), 1 if known else IGNORE),
        "glyphs": torch.full((1, 4, len(GLYPHS)), number), "middle": torch.ones(1, 4) * known,
    }  # fmt: skip
    pixels = torch.randn(1, 3, 32, 32)
    with DeviceGiven():
        model(pixels, **inputs)["loss"].backward()
