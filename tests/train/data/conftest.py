"""Builds records of people's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from own_files import SIZE, Build
from PIL import Image

from chatspot_train.data.build import main
from chatspot_train.data.records import Record, Records


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`chatspot build` on annotations: values to write as JSON, or the text of the file."""

    def go(source: str, annotations: Any, *more: str, status: int = 0) -> list[Record]:
        images, out = tmp_path / "images", tmp_path / "records"
        for name in ("a.jpg", "b.jpg", "mug/c.jpg", "mug/d.png", "fridge_door/e.jpg"):
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE, "red").save(images / name)
        options = ["--source", source, "--images", str(images), "--out", str(out), *more]
        if annotations is not None:
            file = tmp_path / "annotations.json"
            file.write_text(
                annotations if isinstance(annotations, str) else json.dumps(annotations)
            )
            options += ["--annotations", str(file)]
        assert main(options) == status
        return list(Records(out)) if status != 2 or out.is_dir() else []

    return go
