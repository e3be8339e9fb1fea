"""The settings of a server: from the parameter `model`, or from a YAML file that it names."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util import endpoint
from chatspot_ros.util.bounded_yaml import load_yaml

PREFIX = "openai:"
_SUFFIXES = (".yaml", ".yml")
_FORM = f"{PREFIX}http://server:8000/v1#NAME"


class RemoteConfig(BaseModel):
    """A server, the model that it serves, and how it is asked.

    `url` is the base of an OpenAI-compatible API, `model` the model's name there. `dialect` names
    the model's family (a file of config/models) or its settings (the path of a chatspot.yaml);
    empty: the family whose name is part of `model`. `picture_pixels` is the largest picture that
    is sent, 0: the family's; `jpeg_quality` its quality. `api_key_env` names the environment
    variable of the key, which must be set; empty: OPENAI_API_KEY, if set.

    `reasoning_tokens` may come before the answer of a model that reasons.

    `timeout` is the longest answer in seconds; `max_parallel` requests are on the way at a time.
    `retries` are those of a request that never reached the server, or that it asked to repeat.
    After `breaker_failures` failures in a row the server is left alone for `breaker_seconds`.
    `picture_ids`: a picture is sent once and named by its id afterwards (vLLM's `uuid`).

    `fallback` is a local model that answers where the server does not; `fallback_seconds` is the
    time kept for it before the deadline, 0: its longest answer so far.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    model: str = Field(min_length=1, max_length=256)
    dialect: str = ""
    picture_pixels: int = Field(0, ge=0, le=67_108_864)
    jpeg_quality: int = Field(92, ge=10, le=100)
    api_key_env: str = Field("", pattern=r"^([A-Za-z_]\w*)?$")
    reasoning_tokens: int = Field(0, ge=0, le=65536)
    timeout: float = Field(30.0, gt=0, le=3600)
    connect_timeout: float = Field(2.0, gt=0, le=60)
    max_parallel: int = Field(8, ge=1, le=256)
    retries: int = Field(2, ge=0, le=10)
    breaker_failures: int = Field(3, ge=1, le=100)
    breaker_seconds: float = Field(10.0, gt=0, le=3600)
    picture_ids: bool = False
    fallback: str = ""
    fallback_seconds: float = Field(0.0, ge=0, le=600)


def is_remote(model: str) -> bool:
    """Return whether the parameter `model` names a server or the file of one."""
    return model.startswith(PREFIX) or model.endswith(_SUFFIXES)


def read_config(model: str) -> RemoteConfig:
    """Read the settings of a server.

    Raises:
        ModelLoadError: an unreadable file, a setting that is missing, unknown or out of range, or
            an address with user, password or query in it.
    """
    if model.startswith(PREFIX):
        url, _, name = model.removeprefix(PREFIX).partition("#")
        check_address(url)
        if not name.strip():
            raise ModelLoadError(
                "the name of the server's model is missing", value=model, remedy=f"write {_FORM}"
            )
        data: object = {"url": url, "model": name.strip()}
    else:
        data = _read_file(Path(model).expanduser())
    try:
        config = RemoteConfig.model_validate(data)
    except ValidationError as error:
        # Not the values: one may be an address with a password.
        faults = (f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}"
                  for one in error.errors(include_input=False))  # fmt: skip
        raise ModelLoadError(
            f"the server's settings are wrong: {'; '.join(faults)}",
            value=shown(model), remedy="mend them (docs/remote.md)",
        ) from None  # fmt: skip
    check_address(config.url)
    if is_remote(config.fallback):
        raise ModelLoadError(
            "the fallback is a server as well", value=shown(config.fallback),
            remedy="name a model of this machine, as chatspot-tiny",
        )  # fmt: skip
    return config


def read_key(config: RemoteConfig) -> str:
    """Return the key from the environment; empty: none is set, and none is needed.

    Raises:
        ModelLoadError: a variable that is named and not set, a key with spaces, or a key that would
            go over plain http to another machine.
    """
    variable = config.api_key_env or endpoint.KEY_VARIABLE
    key = endpoint.read_key(config.url, variable, ModelLoadError)
    if config.api_key_env and not key:
        raise ModelLoadError(
            "the server's key is not in the environment", value=variable,
            remedy="set that variable where the node is started",
        )  # fmt: skip
    return key


def check_address(url: str) -> None:
    """Raise ModelLoadError unless it is an http(s) address without user, password or query."""
    endpoint.check_address(url, ModelLoadError, f"{_FORM}, or https")


def _read_file(path: Path) -> object:
    try:
        return load_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"the server's settings cannot be read: {error}", value=path, remedy="mend that file"
        ) from error


def shown(model: str) -> str:
    """Return the parameter `model` for people: without an address that may hold a password."""
    return "not shown, for its secrets" if "@" in model else model
