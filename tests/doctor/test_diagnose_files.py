"""python -m asr_core diagnose, the report, the page of the rules, and inputs that are no batch."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy import BLANK, case

from asr_core import EvidenceError, diagnose
from asr_core.doctor import RULES, reading
from asr_core.doctor.__main__ import page
from asr_core.doctor.reading import read

ROOT = Path(__file__).parent.parent.parent


def tensors(**changes) -> dict[str, torch.Tensor]:
    values = {"blank": torch.tensor(BLANK), **{k: v for k, v in case(**changes).items() if isinstance(v, torch.Tensor)}}
    return {name: value.detach().contiguous() for name, value in values.items()}


def probabilities() -> dict[str, torch.Tensor]:
    good = tensors()
    return good | {"log_probs": good["log_probs"].exp()}


def saved(path: Path, values: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in values.items()})
    else:
        save_file(values, path)
    return path


@pytest.fixture
def diagnosed(run):
    """python -m asr_core diagnose -> (exit code, standard output, standard error)."""
    return lambda *arguments: run("diagnose", *arguments)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_healthy_file_exits_0_and_a_mistake_exits_1(diagnosed, tmp_path, suffix):
    code, out, _ = diagnosed(saved(tmp_path / f"good.{suffix}", tensors()))
    assert code == 0 and out.startswith("Healthy: 6 utterances, nothing found.")
    code, out, _ = diagnosed(saved(tmp_path / f"bad.{suffix}", probabilities()))
    assert code == 1
    assert "ERROR  Softmax in place of log_softmax  (rule 1)" in out
    assert "https://github.com/SeanNaren/deepspeech.pytorch/issues/488" in out
    assert all(len(line) <= 110 for line in out.splitlines())


def test_json_holds_what_diagnose_found(diagnosed, tmp_path):
    code, out, _ = diagnosed(saved(tmp_path / "bad.npz", probabilities()), "--format", "json")
    found = json.loads(out)
    assert code == 1 and not found["healthy"]
    assert [(finding["rule"], finding["severity"]) for finding in found["findings"]] == [(1, "error")]
    assert found["loss"] == pytest.approx(diagnose(**probabilities() | {"blank": BLANK}).loss)
    assert found["ignores_audio_ratio"] is None and found["infeasible"] == 0


def test_a_warning_exits_0(diagnosed, tmp_path):
    lengths = tensors()["input_lengths"] // 2
    code, out, _ = diagnosed(saved(tmp_path / "short.npz", tensors() | {"input_lengths": lengths}))
    assert code == 0 and out.startswith("Not healthy: 1 warning")


def test_batch_first_and_bfloat16_files_are_read(diagnosed, tmp_path):
    turned = tensors() | {"log_probs": tensors()["log_probs"].transpose(0, 1).contiguous()}
    code, out, _ = diagnosed(saved(tmp_path / "turned.safetensors", turned))
    assert code == 1 and "(rule 7)" in out and "transpose(0, 1)" in out
    half = tensors() | {"log_probs": tensors()["log_probs"].bfloat16()}
    code, out, _ = diagnosed(saved(tmp_path / "half.safetensors", half))
    assert code == 1 and "(rule 22)" in out


class Dangerous:
    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "text.npz").write_text("no archive")
    (folder / "text.safetensors").write_text("no tensors")
    (folder / "batch.pt").write_bytes(b"")
    np.savez(folder / "objects.npz", **{name: np.array([Dangerous()]) for name in reading.REQUIRED})
    (folder / "pickle.npz").write_bytes(pickle.dumps(Dangerous()))
    os.mkfifo(folder / "pipe.npz")
    os.mkfifo(folder / "pipe.safetensors")
    whole = saved(folder / "whole.npz", tensors()).read_bytes()
    (folder / "half.npz").write_bytes(whole[: len(whole) // 2])
    without = {name: value for name, value in tensors().items() if name != "target_lengths"}
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log_probs.npy", bytes(reading.LARGEST_BYTES + 1))
    return {
        "missing": (folder / "gone.npz", "gone.npz cannot be read"),
        "a folder": (folder, "is neither .npz"),
        "another kind": (folder / "batch.pt", "is neither .npz"),
        "text as npz": (folder / "text.npz", "is damaged"),
        "text as safetensors": (folder / "text.safetensors", "is damaged"),
        "objects": (folder / "objects.npz", "never unpickled"),
        "a pickle": (folder / "pickle.npz", "never unpickled"),
        "a pipe": (folder / "pipe.npz", "not an ordinary file"),
        "a pipe of tensors": (folder / "pipe.safetensors", "not an ordinary file"),
        "half a file": (folder / "half.npz", "is damaged"),
        "a bomb": (folder / "bomb.npz", "Save one batch"),
        "an array missing": (saved(folder / "lacks.npz", without), "lacks target_lengths; it holds blank, input_lengths"),
        "something else": (
            saved(folder / "weights.npz", {f"layer{number:02}": torch.zeros(1) for number in range(12)}),
            "it holds layer00, layer01, layer02, layer03, layer04, layer05, layer06, layer07, layer08, layer09 and 2 more",
        ),
        "two blanks": (saved(folder / "blanks.npz", tensors() | {"blank": torch.tensor([0, 1])}), "blank has shape (2,)"),
        "no utterance axis": (
            saved(folder / "shape.npz", tensors() | {"log_probs": torch.zeros(5, 7, 12)}),
            "log_probs has shape (5, 7, 12) and there are 6 target lengths; expected (T, B, V)",
        ),
        "whole numbers": (saved(folder / "ids.npz", tensors() | {"log_probs": torch.zeros(9, 6, 12).long()}), "is int64"),
        "blank outside": (saved(folder / "blank.npz", tensors() | {"blank": torch.tensor(12)}), "tokens 0 to 11"),
        "one row too short": (
            saved(folder / "row.npz", tensors() | {"targets": torch.ones(5).long()}),
            "targets holds 5 tokens in one row, but target_lengths adds up to",
        ),
        "fractions": (saved(folder / "part.npz", tensors() | {"input_lengths": torch.full((6,), 0.5)}), "holds fractions"),
    }  # fmt: skip


def test_what_cannot_be_read_exits_2_with_a_sentence_and_nothing_is_unpickled(diagnosed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (path, telling) in bad_files(tmp_path).items():
        code, out, err = diagnosed(path)
        assert (code, out) == (2, ""), name
        assert telling in err and err.count("\n") == 1, name
    assert not (tmp_path / "unpickled").exists()


def test_optional_arrays_reach_their_rules(tmp_path):
    extra = {"durations": tensors()["input_lengths"], "step": torch.tensor(3), "sample_rate": torch.tensor(8_000.0)}
    extra |= {"expected_sample_rate": torch.tensor(16_000.0), "zero_infinity": torch.tensor(True)}
    diagnosis = diagnose(**read(saved(tmp_path / "full.npz", tensors() | extra)))
    assert [finding.rule for finding in diagnosis.findings] == [27]
    assert 11 not in [rule for rule, _, _ in diagnosis.skipped]


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"labels": ("a", "b")}, "There are 2 labels, but log_probs has 12 tokens"),
        ({"ids": ["one"]}, "There are 1 ids for 6 utterances"),
        ({"input_lengths": [5]}, "1 input lengths and 6 target lengths"),
        ({"target_lengths": [99] * 6}, "target_lengths reaches 99"),
        ({"log_probs": "nonsense"}, "log_probs is a str"),
        ({"targets": torch.zeros(3, 2, 2)}, "targets has shape (3, 2, 2)"),
    ],
)
def test_what_makes_no_batch_is_refused_with_both_numbers(changes, telling):
    with pytest.raises(EvidenceError) as refused:
        diagnose(**case() | changes)
    assert telling in str(refused.value)


def test_the_page_of_the_rules_is_up_to_date_and_links_to_threads():
    assert (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8") == page(), "python -m asr_core.doctor > docs/doctor.md"
    for each in RULES.values():
        assert not each.link or each.link.startswith(("https://github.com/", "https://docs.pytorch.org/"))
        assert each.effect.endswith(".") and each.fix.endswith(".") and each.documentation.endswith(".")


def test_the_page_is_made_by_one_command():
    made = subprocess.run([sys.executable, "-m", "asr_core.doctor"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout == page()
