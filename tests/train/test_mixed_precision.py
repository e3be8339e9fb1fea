"""Where a run that wants bfloat16 gets it."""

import logging

import pytest
import torch

from chatspot_train import mixed_precision
from chatspot_train.mixed_precision import use_bf16


@pytest.mark.parametrize("cpu", [False, True])
@pytest.mark.parametrize("gpu", [False, True])
def test_bf16_is_used_where_it_pays(
    cpu: bool, gpu: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(mixed_precision, "cpu_multiplies_bf16", lambda: cpu)
    with caplog.at_level(logging.WARNING):
        assert use_bf16(True) is (cpu or gpu)
    assert ("float32" in caplog.text) is not (cpu or gpu)
    assert use_bf16(False) is False
