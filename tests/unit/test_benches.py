"""benches: that the bundle which the Rust benches launch is still `pyrt spec`'s."""

from __future__ import annotations

import json
from pathlib import Path

from pyrt import default_spec

CONFIG = Path(__file__).resolve().parents[2] / "benches/config.json"


def test_the_config_of_the_benches_is_the_default_spec() -> None:
    expected = default_spec()
    expected.terminal, expected.args = False, ["true"]
    found = json.loads(CONFIG.read_text())
    for config in (expected.config, found):
        # One for each processor of the machine.
        hidden = config["linux"]["maskedPaths"]
        config["linux"]["maskedPaths"] = [path for path in hidden if not path.endswith("thermal_throttle")]
    assert found == expected.config
