"""The example with Ray Data in docs/many.md, as it stands there, on a cluster of this machine alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asr_core import DEFAULT_CHECKPOINT, Transcriber

ROOT = Path(__file__).parent.parent


def test_the_example_transcribes_every_recording_and_names_what_is_none(tmp_path):
    pytest.importorskip("ray.data", reason='Ray is not installed: pip install "ray[data]"')
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "many.md").read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if "import ray" in block]
    (tmp_path / "example.py").write_text(code)
    (tmp_path / "examples").mkdir()
    examples = sorted((ROOT / "examples").glob("*.mp3"))
    for example in examples:
        (tmp_path / "examples" / example.name).symlink_to(example)
    (tmp_path / "examples" / "letter.wav").write_text("Dear aunt,\n" * 100)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for file in (tmp_path / "texts").glob("*.json") for line in file.read_text().splitlines()]
    results = {Path(row["path"]).name: row for row in map(json.loads, lines)}
    assert len(lines) == len(results) == len(examples) + 1
    assert "is not audio that can be read" in results.pop("letter.wav")["error"]
    transcriber = Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)
    assert {name: row["text"] for name, row in results.items()} == {
        example.name: transcriber.transcribe(example).text for example in examples
    }
