from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import neardata
import pytest
from fake_service import FakeService
from peers import needs

START_S = 60.0


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


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables that point a client at a platform of these tests' own."""
    folder = tmp_path_factory.mktemp("platform")
    command = [sys.executable, "-m", "neardata"]
    options = ["--data", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NEARDATA_"))}
    log = folder / "log"
    with log.open("wb") as output:
        up = [*command, "up", *options, "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0", "--workers", "2"]
        process = subprocess.Popen(up, stdout=output, stderr=output, env=environment)
    deadline = time.monotonic() + START_S
    while "API" not in log.read_text() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    exports = subprocess.run([*command, "env", *options], env=environment, capture_output=True, text=True, check=True)
    variables = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", exports.stdout, re.MULTILINE))
    assert "NEARDATA_API" in variables, exports.stdout
    yield variables
    process.terminate()
    assert process.wait(START_S) == 0, log.read_text()


@pytest.fixture
def environment(platform: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in platform.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(platform: dict[str, str]) -> Any:
    """A client of a bucket `examples` on a platform that this process knows nothing of."""
    needs("boto3")
    import boto3

    keys = {"aws_access_key_id": platform["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": platform["AWS_SECRET_ACCESS_KEY"]}
    client = boto3.client("s3", endpoint_url=platform["AWS_ENDPOINT_URL"], region_name=platform["AWS_REGION"], **keys)
    if "examples" not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="examples")
    return client
