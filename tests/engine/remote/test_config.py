"""Which server is meant, what of it is refused, and where the key may go."""

from pathlib import Path

import pytest

from chatspot_ros.engine.engine_config import EngineConfig, load_any_engine, load_engine
from chatspot_ros.engine.remote.config import RemoteConfig, is_remote, read_config, read_key
from chatspot_ros.engine.remote.engine import spec_of
from chatspot_ros.errors import ModelLoadError


def test_the_parameter_names_address_and_model() -> None:
    config = read_config("openai:http://server:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct")
    assert (config.url, config.model) == ("http://server:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct")
    assert config.fallback == ""


def test_a_file_names_them_too(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("url: https://gpu/v1\nmodel: m\ndialect: qwen3_vl\nfallback: chatspot-tiny\n")
    config = read_config(str(file))
    assert (config.url, config.dialect, config.fallback) == (
        "https://gpu/v1", "qwen3_vl", "chatspot-tiny",
    )  # fmt: skip
    assert spec_of(config).name == "qwen3-vl"


@pytest.mark.parametrize("model", ["chatspot-tiny", "/models/a", "Qwen/Qwen2.5-VL-3B-Instruct"])
def test_other_models_are_of_this_machine(model: str) -> None:
    assert not is_remote(model)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai:http://me:hunter2@server/v1#m", "credentials"),
        ("openai:http://server/v1?key=hunter2#m", "credentials"),
        ("openai:ftp://server/v1#m", "address"),
        ("openai:http://server:port/v1#m", "address"),
        ("openai:#m", "address"),
        ("openai:http://server/v1", "name of the server's model"),
    ],
)
def test_an_unusable_address_is_refused_by_name(model: str, says: str) -> None:
    with pytest.raises(ModelLoadError, match=says) as refused:
        read_config(model)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("url: http://a/v1\n", "model"),
        ("url: http://a/v1\nmodel: m\nretires: 2\n", "retires"),
        ("url: http://a/v1\nmodel: m\nmax_parallel: 0\n", "max_parallel"),
        ("url: http://me:hunter2@a/v1\nmodel: m\ntimeout: long\n", "timeout"),
        ("- a\n", "file"),
        ("url: http://a/v1\nmodel: m\nfallback: openai:http://b/v1#n\n", "fallback"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "server.yaml"
    file.write_text(text)
    with pytest.raises(ModelLoadError, match=says) as refused:
        read_config(str(file))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("served", "family"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl"),
        ("qwen2.5vl:7b", "qwen2.5-vl"),
        ("Qwen2-VL-2B-Instruct-Q4_K_M.gguf", "qwen2-vl"),
        ("/models/Qwen3-VL-4B", "qwen3-vl"),
        ("google/gemma-3-4b-it", "gemma-3"),
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5"),
    ],
)
def test_the_family_is_found_by_the_served_name(served: str, family: str) -> None:
    assert spec_of(RemoteConfig(url="http://a/v1", model=served)).name == family


def test_an_unknown_family_says_which_there_are() -> None:
    with pytest.raises(ModelLoadError, match="qwen2_5_vl"):
        spec_of(RemoteConfig(url="http://a/v1", model="gpt-9"))


def test_a_key_goes_to_this_machine_or_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", "sk-long-enough")
    monkeypatch.delenv("CHATSPOT_ALLOW_HTTP", raising=False)

    def key(url: str) -> str:
        return read_key(RemoteConfig(url=url, model="m", api_key_env="GPU_KEY"))

    assert key("https://gpu/v1") == key("http://127.0.0.1:1/v1") == "sk-long-enough"
    with pytest.raises(ModelLoadError, match="plain http"):
        key("http://gpu/v1")
    monkeypatch.setenv("GPU_KEY", "two words")
    with pytest.raises(ModelLoadError, match="holds no key"):
        key("https://gpu/v1")
    monkeypatch.delenv("GPU_KEY")
    with pytest.raises(ModelLoadError, match="not in the environment"):
        key("https://gpu/v1")


def test_a_program_that_needs_weights_refuses_a_server() -> None:
    with pytest.raises(ModelLoadError, match="model of this machine"):
        load_engine(EngineConfig(model="openai:http://a/v1#qwen2.5-vl"))


def test_the_node_gets_an_engine_over_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    engine = load_any_engine(EngineConfig(model="openai:http://127.0.0.1:1/v1#qwen2.5-vl"))
    assert engine.name == "qwen2.5-vl"
    engine.close()  # type: ignore[attr-defined]
