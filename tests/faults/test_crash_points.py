"""Killed at any change to its files, a run leaves nothing half done, loses nothing finished, and goes on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL and fork"),
    pytest.mark.timeout(1200),
]


def crash(folder, *options):
    script = Path(__file__).with_name("crash_points.py")
    command = [sys.executable, str(script), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_crash_point(tmp_path, record_property):
    report = crash(tmp_path)
    for start, found in report.items():
        assert found["wrong"] == [], start
        record_property(f"kills {start}", found["kills"])
    names = set(report["empty"]["names"])
    assert {"open", "write", "fsync", "replace", "unlink", "mkdir", "sqlite COMMIT"} <= names
    assert report["empty"]["changes"] > 90
    assert report["halfway"]["changes"] > 25


@pytest.mark.parametrize("safeguard", ["atomic", "order", "reopen"])
def test_a_missing_safeguard_shows(tmp_path, safeguard):
    report = crash(tmp_path, "--break", safeguard)
    assert any(found["wrong"] for found in report.values())
