"""The service manager that the tests here share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from survive.keeper import Keeper


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    await keeper.close()
