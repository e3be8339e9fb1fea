"""`device: cuda:1`: everything of the model is there, whichever thread asks."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chatspot_ros.engine import model_errors
from chatspot_ros.engine.loading import checkpoint, host_resources
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.util import process_memory


class TwoGpus:
    """CUDA's own bookkeeping of two GPUs: the current one belongs to each thread."""

    def __init__(self) -> None:
        self._own = threading.local()

    def set_device(self, device: Any) -> None:
        self._own.index = torch.device(device).index or 0

    def current_device(self) -> int:
        return getattr(self._own, "index", 0)

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        index = self.current_device() if device is None else torch.device(device).index
        return (4_000_000_000, 24_000_000_000) if index else (1_000_000_000, 8_000_000_000)

    def memory_allocated(self, device: Any = None) -> int:
        index = self.current_device() if device is None else torch.device(device).index
        return 7_000_000_000 if index else 1_000_000


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> TwoGpus:
    made = TwoGpus()
    for name in ("set_device", "current_device", "mem_get_info", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, getattr(made, name))
    monkeypatch.setattr(torch.cuda, "memory_reserved", made.memory_allocated)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(is_integrated=False)
    )
    return made


def test_the_thread_that_loads_the_model_works_on_its_gpu(gpus: TwoGpus) -> None:
    device = torch.device("cuda:1")

    def load() -> str:
        checkpoint.make_current(device)
        return "engine"

    worker = InferenceWorker.begin(load, queue_size=2)
    try:
        job = worker.submit(lambda _: gpus.current_device())
        # Where a module names no device, as recorded steps do, it is this one.
        assert job.wait() == 1
        # The others keep theirs.
        assert gpus.current_device() == 0
    finally:
        worker.stop()


def test_a_cpu_needs_no_current_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", pytest.fail)
    checkpoint.make_current(torch.device("cpu"))


def test_loading_makes_the_gpu_current_before_anything_is_there(
    monkeypatch: pytest.MonkeyPatch, gpus: TwoGpus, llava_folder: Any
) -> None:
    class EnoughError(Exception):
        pass

    def check(*_: object) -> None:
        assert gpus.current_device() == 1
        raise EnoughError

    monkeypatch.setattr(checkpoint, "choose_device", torch.device)
    monkeypatch.setattr(checkpoint.memory_estimate, "check_fit", check)
    with pytest.raises(EnoughError):
        checkpoint.load(llava_folder, "cuda:1", "auto")


@pytest.mark.usefixtures("gpus")
def test_memory_figures_are_of_the_models_gpu() -> None:
    # As asked by the executor's thread, whose current device is the first.
    assert process_memory.device_bytes("cuda:1") == (20_000_000_000, 24_000_000_000)
    assert process_memory.device_bytes("cuda:0") == (7_000_000_000, 8_000_000_000)
    assert process_memory.device_bytes("cpu") is None
    assert process_memory.device_bytes("") is None
    shown = process_memory.values("cuda:1")
    assert shown["memory of the device, MB"] == "24000"
    assert host_resources.free_memory(torch.device("cuda:1")) == 4_000_000_000


@pytest.mark.usefixtures("gpus")
def test_an_error_without_a_number_is_of_the_threads_gpu() -> None:
    checkpoint.make_current(torch.device("cuda:1"))
    try:
        said = model_errors.numbers("CUDA out of memory. Tried to allocate 2.00 GiB.")
    finally:
        checkpoint.make_current(torch.device("cuda:0"))
    assert said == "needed 2.147 GB, free 4.000 GB, allocated 7.000 GB on cuda:1"
