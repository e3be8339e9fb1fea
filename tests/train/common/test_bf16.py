"""Where a run that wants bfloat16 gets it."""

import logging

import pytest
import torch

from chatspot_train.common import bf16
from chatspot_train.common.bf16 import cpu_multiplies_bf16, product_s, use_bf16


@pytest.mark.parametrize("cpu", [False, True])
@pytest.mark.parametrize("gpu", [False, True])
def test_bf16_is_used_where_it_pays(
    cpu: bool, gpu: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(bf16, "cpu_multiplies_bf16", lambda: cpu)
    with caplog.at_level(logging.WARNING):
        assert use_bf16(True) is (cpu or gpu)
    assert ("float32" in caplog.text) is not (cpu or gpu)
    assert use_bf16(False) is False


@pytest.mark.parametrize(
    ("has_it", "seconds", "pays"),
    [(False, (0.0, 1.0), False), (True, (2, 3), True), (True, (3, 2), False)],
)
def test_a_processor_is_asked_which_is_faster(
    has_it: bool, seconds: tuple[float, float], pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = dict(zip((torch.bfloat16, torch.float32), seconds, strict=True))
    monkeypatch.setattr(bf16, "has_bf16", lambda: has_it)
    monkeypatch.setattr(bf16, "product_s", taken.__getitem__)
    cpu_multiplies_bf16.cache_clear()
    assert cpu_multiplies_bf16() is pays
    cpu_multiplies_bf16.cache_clear()


def test_a_product_takes_the_least_of_several_after_one_to_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = (0.1, 3.0, 2.0, 5.0, 4.0, 6.0)
    clock = iter([second for k, one in enumerate(taken) for second in (10.0 * k, 10.0 * k + one)])
    monkeypatch.setattr(bf16.time, "perf_counter", lambda: next(clock))
    assert product_s(torch.float32) == pytest.approx(2.0)
