"""Running DataPlug's examples as they are in `dataplug_examples`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent / "dataplug_examples"
DATA = EXAMPLES / "data"


def run_example(name: str, platform: dict[str, str], cache: Path) -> str:
    """Run an example with nothing in its environment but what its `s3_config` is made of; give what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NEARDATA_"))}
    environment |= {
        "NEARDATA_CACHE": str(cache),
        "EXAMPLE_ENDPOINT": platform["AWS_ENDPOINT_URL"],
        "EXAMPLE_KEY": platform["AWS_ACCESS_KEY_ID"],
        "EXAMPLE_SECRET": platform["AWS_SECRET_ACCESS_KEY"],
    }
    run = subprocess.run([sys.executable, name], cwd=EXAMPLES, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout
