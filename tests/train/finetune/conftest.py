"""For the tests of instruction tuning: the train command as a person starts it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chatspot_train import train


@pytest.fixture
def train_as(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], None]:
    """`chatspot train --config FILE` in this process; a failure is a SystemExit with its words."""

    def go(file: Path) -> None:
        capsys.readouterr()
        if train.main(["--config", str(file)]):
            raise SystemExit(capsys.readouterr().err.strip().splitlines()[-1])

    return go
