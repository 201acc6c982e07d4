from __future__ import annotations

from collections.abc import Iterator

import neardata
import pytest
from fake_service import FakeService


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets a platform of the person who runs it."""
    for name in ("NEARDATA_API", "NEARDATA_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def executor(service: FakeService) -> Iterator[neardata.Executor]:
    with neardata.Executor(api=service.url, token="secret") as made:
        yield made
