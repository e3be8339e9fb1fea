from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, DynamicCache

from chatspot_ros.engine import Engine
from chatspot_ros.engine.loading import (
    checkpoint,
    host_resources,
    memory_estimate,
    quantization,
)
from chatspot_ros.engine.loading.memory_estimate import GB, MB, Plan
from chatspot_ros.errors import ModelLoadError

CPU = torch.device("cpu")


def needed(folder: Path, plan: Plan, device: torch.device = CPU) -> memory_estimate.Need:
    weights = memory_estimate.read_shapes(checkpoint.check_weights(folder))
    return memory_estimate.need(weights, AutoConfig.from_pretrained(folder), plan, device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_weights_are_what_the_loaded_model_has(llava_folder: Path, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    model = checkpoint.load(llava_folder, "cpu", name).model
    held = sum(weight.nbytes for weight in model.parameters())
    assert needed(llava_folder, Plan(dtype=dtype)).weights == held


def test_the_files_own_numbers_do_not_count(llava_folder: Path) -> None:
    stored = sum(one.nbytes for one in load_file(llava_folder / "model.safetensors").values())
    assert needed(llava_folder, Plan(dtype=torch.float16)).weights == stored // 2


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_keys_and_values_are_what_the_model_keeps(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    model = checkpoint.load(folder, "cpu", "float32").model
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.inference_mode():
        model.model.language_model(
            inputs_embeds=torch.zeros(1, 7, 32), past_key_values=cache, use_cache=True
        )
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert memory_estimate.cache_bytes(model.config, 7, torch.float32) == kept


def test_layers_may_keep_different_numbers() -> None:
    """As in Gemma 4, whose layers of full attention have larger heads: there is no one size."""
    config = AutoConfig.for_model("gemma4")
    text = config.text_config
    sizes = [2 * layer.num_key_value_heads * layer.head_dim for layer in text.per_layer_config]
    assert len(sizes) == text.num_hidden_layers
    assert len(set(sizes)) == 2
    assert memory_estimate.cache_bytes(config, 10, torch.bfloat16) == 20 * sum(sizes)


def test_no_more_tokens_than_the_model_reads(llava_folder: Path) -> None:
    config = AutoConfig.from_pretrained(llava_folder)
    most = memory_estimate.cache_bytes(config, 10**9, torch.float32)
    assert most == memory_estimate.cache_bytes(config, 2048, torch.float32)


def test_the_reserve_is_kept(llava_folder: Path) -> None:
    small, large = (needed(llava_folder, Plan(reserve_bytes=size)) for size in (0, 5 * MB))
    assert large.total - small.total == 5 * MB


def test_the_numbers_of_llava_7b() -> None:
    """Of shapes alone: 6.74e9 weights of Llama in bf16, and 0.5 MiB of keys and values a token."""
    config = AutoConfig.for_model("llava")
    text = config.text_config
    assert (text.hidden_size, text.intermediate_size, text.num_hidden_layers) == (4096, 11008, 32)
    assert memory_estimate.cache_bytes(config, 1000, torch.bfloat16) == 1000 * 2**19
    shapes = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    blocks = [
        memory_estimate.Weight(f"language_model.model.layers.{k}.{name}.weight", shape, "F16")
        for k in range(32)
        for name, shape in zip(names, shapes, strict=True)
    ]
    sizes = {
        how: memory_estimate.need(blocks, config, Plan(how, 0, 0, torch.bfloat16), CPU).weights / GB
        for how in quantization.QUANTISATIONS
    }
    assert sizes["none"] == pytest.approx(12.95, abs=0.01)
    assert sizes["int8"] == pytest.approx(6.48, abs=0.01)
    assert 3.3 < sizes["int4"] < 3.5


def test_what_cannot_fit_is_not_loaded(llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_resources, "free_memory", lambda device: 300 * MB)
    monkeypatch.setattr(checkpoint, "_load_model", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(
        ModelLoadError, match=r"needs 0\.51 GB \(weights .*0\.30 GB are free on cpu"
    ):
        Engine.load(str(llava_folder), device="cpu")


def test_the_remedy_is_what_would_fit(llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(cache_tokens=0, reserve_bytes=0)
    half = needed(llava_folder, Plan("none", 0, 0, torch.bfloat16)).total
    monkeypatch.setattr(host_resources, "free_memory", lambda device: half)
    with pytest.raises(ModelLoadError, match=r"dtype bfloat16 \(needs 0\.00 GB\)") as caught:
        checkpoint.load(llava_folder, "cpu", "float32", plan)
    assert "int4" not in caught.value.remedy
    monkeypatch.setattr(host_resources, "free_memory", lambda device: 1)
    with pytest.raises(ModelLoadError, match="a smaller model"):
        checkpoint.load(llava_folder, "cpu", "float32", plan)


def test_a_checkpoint_that_is_quantised_counts_as_it_is_stored(
    llava_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(llava_folder, tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "torchao"}
    (folder / "config.json").write_text(json.dumps(config))
    stored = sum(one.nbytes for one in load_file(folder / "model.safetensors").values())
    assert needed(folder, Plan(dtype=torch.bfloat16)).weights == stored


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    write(tmp_path / "meminfo", "MemTotal:  8000000 kB\nMemAvailable:   4000000 kB\n")
    return tmp_path / "meminfo"


def test_main_memory_without_limits(tmp_path: Path, meminfo: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    assert host_resources.free_host_memory(meminfo, groups, own) == 4_000_000 * 1024
    write(own, "0::/robot\n")
    write(groups / "robot/memory.max", "max\n")
    write(groups / "robot/memory.current", "1000\n")
    assert host_resources.free_host_memory(meminfo, groups, own) == 4_000_000 * 1024


def test_main_memory_within_a_group_of_version_2(tmp_path: Path, meminfo: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    write(own, "0::/pod/box\n")
    write(groups / "pod/memory.max", "3000000000\n")
    write(groups / "pod/memory.current", "2000000000\n")
    write(groups / "pod/memory.stat", "anon 5\ninactive_file 500000000\n")
    write(groups / "pod/box/memory.max", "max\n")
    write(groups / "pod/box/memory.current", "7\n")
    assert host_resources.free_host_memory(meminfo, groups, own) == 1_500_000_000


def test_main_memory_within_a_group_of_version_1(tmp_path: Path, meminfo: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    write(own, "5:cpu,cpuacct:/\n4:memory:/docker/1a\n0::/\n")
    write(groups / "memory/docker/1a/memory.limit_in_bytes", "1000000000\n")
    write(groups / "memory/docker/1a/memory.usage_in_bytes", "900000000\n")
    write(groups / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(groups / "memory/memory.usage_in_bytes", "900000000\n")
    assert host_resources.free_host_memory(meminfo, groups, own) == 100_000_000


def test_this_machine_has_memory_and_cores() -> None:
    assert host_resources.free_memory(CPU) > 100 * MB
    assert 1 <= host_resources.cores() <= torch.get_num_threads() * 1024


class FakeCuda:
    """A GPU of 8 GB with 1 GB free, 0.5 GB of it held by PyTorch without use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, integrated: bool) -> None:
        class Properties:
            is_integrated = integrated

        for name, value in {
            "mem_get_info": (1 * GB, 8 * GB),
            "memory_reserved": 3 * GB,
            "memory_allocated": 5 * GB // 2,
            "get_device_properties": Properties(),
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)


def test_memory_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(monkeypatch, integrated=False)
    monkeypatch.setattr(host_resources, "free_host_memory", lambda: 6 * GB)
    assert host_resources.free_memory(torch.device("cuda")) == 3 * GB // 2


def test_memory_that_a_jetson_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(monkeypatch, integrated=True)
    monkeypatch.setattr(host_resources, "free_host_memory", lambda: 6 * GB)
    assert host_resources.free_memory(torch.device("cuda")) == 6 * GB


def siblings(topology: Path, pairs: list[str]) -> None:
    for cpu, text in enumerate(pairs):
        write(topology / f"cpu{cpu}/topology/thread_siblings_list", text + "\n")


def test_hyperthreads_count_once(tmp_path: Path) -> None:
    siblings(tmp_path, ["0,4", "1,5", "2,6", "3,7"] * 2)
    nowhere = tmp_path / "none"
    assert host_resources.cores(range(8), tmp_path, nowhere, nowhere) == 4
    assert host_resources.cores([1, 5, 2], tmp_path, nowhere, nowhere) == 2
    assert host_resources.cores([0, 1], nowhere, nowhere, nowhere) == 2


@pytest.mark.parametrize(
    ("own", "file", "text", "count"),
    [
        ("0::/box\n", "box/cpu.max", "150000 100000", 2),
        ("0::/box\n", "box/cpu.max", "max 100000", 4),
        ("2:cpu,cpuacct:/box\n", "cpu,cpuacct/box/cpu.cfs_quota_us", "50000", 1),
        ("2:cpu,cpuacct:/box\n", "cpu,cpuacct/box/cpu.cfs_quota_us", "-1", 4),
    ],
)
def test_a_quota_of_cpu_time(tmp_path: Path, own: str, file: str, text: str, count: int) -> None:
    groups, membership = tmp_path / "cgroup", tmp_path / "own"
    write(membership, own)
    write(groups / file, text)
    write((groups / file).parent / "cpu.cfs_period_us", "100000")
    assert host_resources.cores(range(4), tmp_path / "none", groups, membership) == count


@pytest.mark.gpu
def test_the_weights_on_a_gpu_are_as_told(llava_folder: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    before = torch.cuda.memory_allocated()
    model = checkpoint.load(llava_folder, "cuda", "bfloat16").model
    held = sum(weight.nbytes for weight in model.parameters())
    assert needed(llava_folder, Plan(dtype=torch.bfloat16)).weights == held
    assert torch.cuda.memory_allocated() - before >= held
