"""The reference pages: made out of the definitions, and current."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from chatspot_ros.action import AskRegion
from chatspot_ros.msg import ActionStep, Region, RegionAnswer, RegionAnswers, StateChange
from chatspot_ros.srv import KitchenAct, RateAnswer, RegionQuery, WatchHistory

from chatspot_ros.detector import settings as detector_settings
from chatspot_ros.server import settings
from chatspot_ros.tools.reference_docs import (
    MARKER,
    interfaces_reference,
    main,
    parameters_page,
)

FIELDS = {
    "msg/ActionStep": [ActionStep],
    "msg/Region": [Region],
    "msg/RegionAnswer": [RegionAnswer],
    "msg/RegionAnswers": [RegionAnswers],
    "msg/StateChange": [StateChange],
    "srv/KitchenAct": [KitchenAct.Request, KitchenAct.Response],
    "srv/RateAnswer": [RateAnswer.Request, RateAnswer.Response],
    "srv/RegionQuery": [RegionQuery.Request, RegionQuery.Response],
    "srv/WatchHistory": [WatchHistory.Request, WatchHistory.Response],
    "action/AskRegion": [AskRegion.Feedback],
}


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the definitions and pages, to be spoilt."""
    for folder in ("msg", "srv", "action", "docs"):
        shutil.copytree(root / folder, tmp_path / folder)
    return tmp_path


def sections(page: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_pages_are_current(root: Path) -> None:
    assert main(["--check", "--root", str(root)]) == 0


def test_every_interface_is_there_with_every_field_explained(root: Path) -> None:
    page = sections(interfaces_reference(root))
    files = {
        f"{folder}/{path.stem}" for folder in ("msg", "srv", "action")
        for path in (root / folder).iterdir()
    }  # fmt: skip
    assert set(page) == files == set(FIELDS)
    for name, parts in FIELDS.items():
        told = dict(re.findall(r"^- \*\*`(\w+)`\*\* `\S+`\n  (\S.*)$", page[name], re.MULTILINE))
        wanted = {field for part in parts for field in part.get_fields_and_field_types()}
        assert set(told) == wanted


def test_every_status_is_there_with_its_meaning(root: Path) -> None:
    page = sections(interfaces_reference(root))["srv/RegionQuery"]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\S.*) \|$", page, re.MULTILINE)
    assert len(rows) == 16
    for name, value, _ in rows:
        assert getattr(RegionQuery.Response, name) == int(value)


def test_what_is_the_same_is_told_once(root: Path) -> None:
    page = sections(interfaces_reference(root))["action/AskRegion"]
    assert "Field by field the request of srv/RegionQuery, above." in page
    assert "Field by field the reply of srv/RegionQuery, above." in page


@pytest.mark.parametrize(
    ("node", "specs"),
    [
        ("region_query_node", list(settings.SPECS)),
        ("detector_node", list(detector_settings.SPECS)),
    ],
)
def test_every_parameter_is_there(node: str, specs: list[settings.Spec]) -> None:
    lines = sections(parameters_page())[node].splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == len(specs)
    for spec, row in zip(specs, rows, strict=True):
        assert row.startswith(f"| `{spec.name}` |")
        assert spec.text.replace("|", "\\|") in row
        if spec.high is not None:
            assert f"| {spec.low:g} to {spec.high:g} |" in row
        if spec.form:
            assert f"| {spec.form} |" in row
        assert ("| no |" in row) == spec.read_only


def test_a_changed_definition_makes_a_page_stale_until_it_is_written(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    region = copy / "msg" / "Region.msg"
    region.write_text(region.read_text() + "\n# How heavy it is, in kg.\nfloat32 weight\n")
    assert main(["--check", "--root", str(copy)]) == 1
    assert "interfaces.md is not current; run " in capsys.readouterr().err
    assert "weight" not in (copy / "docs/interfaces.md").read_text()
    assert main(["--root", str(copy)]) == 0
    assert "- **`weight`** `float32`\n  How heavy" in (copy / "docs/interfaces.md").read_text()
    assert main(["--check", "--root", str(copy)]) == 0


def test_what_is_written_by_hand_stays(copy: Path) -> None:
    page = copy / "docs/interfaces.md"
    hand, _, _ = page.read_text().partition(MARKER)
    page.write_text(hand + "One more paragraph.\n\n" + MARKER + "\nold\n")
    assert main(["--root", str(copy)]) == 0
    assert page.read_text().startswith(hand + "One more paragraph.\n\n" + MARKER)
    assert "\nold\n" not in page.read_text()


def test_a_lost_marker_and_a_wrong_folder_are_named(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "docs/interfaces.md").write_text("# Interfaces\n")
    assert main(["--root", str(copy)]) == 1
    assert "has no marker" in capsys.readouterr().err
    assert main(["--root", str(tmp_path / "nowhere")]) == 1
    assert "run it in the repository" in capsys.readouterr().err
