"""The Python of the README's section on the Doctor, run as it stands."""

import re
from pathlib import Path

import torch
from toy import VOCABULARY, case, spoken

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Why is my CTC loss negative?")[1].split("\n## ")[0]


def test_both_examples_run_and_say_what_the_readme_shows(capsys):
    diagnosing, watching = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    arguments = case(None, lambda logits: logits.softmax(-1).transpose(0, 1))
    names = {name: arguments[name] for name in ("log_probs", "targets", "input_lengths", "target_lengths")}
    exec(diagnosing, names)
    shown = capsys.readouterr().out
    for line in (
        "ERROR  Softmax in place of log_softmax  (rule 1)",
        "fix   Feed torch.nn.functional.log_softmax(logits, dim=-1)",
    ):
        assert line in shown and line in SECTION

    model, batch = torch.nn.Linear(12, VOCABULARY), spoken()
    batches = [(batch["features"], batch["targets"], batch["lengths"], batch["target_lengths"])] * 3
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    exec(watching, names | {"torch": torch, "model": model, "batches": batches, "optimiser": optimiser})
    assert capsys.readouterr().out == ""
    exec(
        watching.replace(".log_softmax(-1)", ""),
        names | {"torch": torch, "model": model, "batches": batches, "optimiser": optimiser},
    )
    (sentence,) = capsys.readouterr().out.splitlines()
    assert sentence.startswith("Doctor, step 0: stop, because log_probs holds raw logits")


def test_the_command_of_the_readme_is_a_command():
    assert "python -m asr_core diagnose batch.npz" in SECTION
