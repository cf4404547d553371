"""The loop, in this process, on encoders that train in a blink. test_train.py runs train.py itself."""

import contextlib
import json
import math
import signal
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from synthetic import MELS, TINY, tiny_model, toy_corpus
from torch.distributions import Categorical, kl_divergence

from asr_core import checkpoint
from asr_core.augment import AugmentConfig
from asr_core.ctc import CtcError
from asr_core.features import FeatureConfig
from asr_core.training import processes
from asr_core.training.config import PRESETS, TrainingConfig
from asr_core.training.loop import STATE, TrainingRun
from asr_core.training.losses import _disagreement
from asr_core.training.schedule import one_cycle, set_rate
from asr_core.training.state import StateError, load_state, save_state


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "clips").mkdir()
    return toy_corpus(tmp_path / "clips", 10)


def config_of(name: str, **options) -> TrainingConfig:
    """Two epochs of four batches, with dropout where the encoder has it, augmentation, phones and averaging."""
    config = TrainingConfig(
        encoder=TINY[name],
        features=FeatureConfig(n_mels=MELS),
        augmentation=AugmentConfig(),
        epochs=2,
        batch_size=2,
        max_lr=1e-2,
        ema_decay=0.9,
        phone_weight=(0.5, 0.1) if name == "attention_unet" else (0.0, 0.0),
    )
    return replace(config, **options)


def run_of(config, corpus, out, **options) -> TrainingRun:
    return TrainingRun(config, corpus[2:], corpus[:2], out, workers=0, **options)


def weights(out) -> bytes:
    return (out / "last" / "model.safetensors").read_bytes()


@pytest.fixture(params=sorted(TINY))
def config(request):
    return config_of(request.param)


def test_training_lowers_the_loss_and_leaves_checkpoints(config, corpus, tmp_path):
    run = run_of(replace(config, epochs=12), corpus, tmp_path / "run")
    assert run.run()
    losses = [epoch["loss"] for epoch in run.progress["history"]]
    assert len(losses) == 12 and losses[-1] < 0.7 * losses[0]
    for folder in ("last", "best"):
        loaded = checkpoint.load(tmp_path / "run" / folder)
        assert loaded.features == config.features
        assert len(loaded.training["history"]) >= 1
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_the_same_command_gives_the_same_weights(config, corpus, tmp_path):
    for name in ("one", "two"):
        run_of(config, corpus, tmp_path / name).run()
    run_of(replace(config, seed=2), corpus, tmp_path / "other").run()
    assert weights(tmp_path / "one") == weights(tmp_path / "two") != weights(tmp_path / "other")


def test_a_run_stopped_after_every_batch_ends_with_the_weights_of_one_that_was_not(config, corpus, tmp_path):
    run_of(config, corpus, tmp_path / "whole").run()
    stops = 0
    while not run_of(config, corpus, tmp_path / "pieces").run(max_minutes=0.0):
        stops += 1
    assert stops >= 8, "at least one after each batch"
    assert weights(tmp_path / "pieces") == weights(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["step", "average", "examine", "validate", "export", "save"])
def test_interrupted_at_any_moment_it_loses_nothing(config, corpus, tmp_path, monkeypatch, moment, number):
    run_of(config, corpus, tmp_path / "whole").run()
    run = run_of(config, corpus, tmp_path / "interrupted")
    ordinary, calls = getattr(run, moment), []

    def interrupted(*args):
        calls.append(moment)
        result = ordinary(*args)  # after its work: the loop has not yet written down that it is done
        if len(calls) == 1:
            signal.raise_signal(number)
        return result

    monkeypatch.setattr(run, moment, interrupted)
    finished = False
    with contextlib.suppress(KeyboardInterrupt):
        finished = run.run()
    assert not finished
    assert (tmp_path / "interrupted" / STATE).exists()
    assert run_of(config, corpus, tmp_path / "interrupted").run()
    assert weights(tmp_path / "interrupted") == weights(tmp_path / "whole")
    assert (tmp_path / "interrupted" / "best" / "config.json").exists()


def test_what_is_left_of_a_lost_job_is_not_ended_before_it_has_said_so(config, corpus, tmp_path, monkeypatch):
    run = run_of(config, corpus, tmp_path)
    monkeypatch.setattr(run, "step", Mock(side_effect=processes.ProcessLost))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(processes.ProcessLost):
            run.run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)  # torchrun's, to a process that is on its way to the sentence
        assert run.deadline == -math.inf
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_finished_run_stays_as_it_is(config, corpus, tmp_path):
    run_of(config, corpus, tmp_path / "run").run()
    before = weights(tmp_path / "run")
    assert run_of(config, corpus, tmp_path / "run").run()
    assert weights(tmp_path / "run") == before


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_a_run_of_any_number_of_steps_has_a_rate_for_each(corpus, tmp_path, steps, monkeypatch):
    rates = []
    monkeypatch.setattr("asr_core.training.loop.set_rate", lambda optimisers, max_lr, factor: rates.append(factor))
    config = config_of("attention_unet", epochs=1, batch_size=1, warmup=PRESETS["fast"].warmup)
    TrainingRun(config, (corpus * 2)[:steps], corpus[:1], tmp_path / "run", workers=0).run()
    assert len(rates) == steps and all(0 < rate <= 1 for rate in rates)
    assert steps < 20 or max(rates) > 0.9


@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_the_cycle_is_that_of_torch(warmup):
    steps = 2_000
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    cycle = {"pct_start": warmup, "anneal_strategy": "linear", "final_div_factor": 1e9}
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, steps, **cycle)
    ours = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    for step in range(steps - 1):
        set_rate([ours], 1.0, one_cycle(step / steps, warmup))
        for mine, theirs in zip(ours.param_groups, optimiser.param_groups, strict=True):
            assert mine["lr"] == pytest.approx(theirs["lr"], abs=6e-3)
            assert mine["betas"][0] == pytest.approx(theirs["betas"][0], abs=6e-3)
        optimiser.step()
        schedule.step()


def test_muon_takes_the_large_matrices_and_learns(corpus, tmp_path):
    encoder = {**TINY["attention_unet"], "width": 128, "hidden": 128, "heads": 2}
    config = config_of("attention_unet", encoder=encoder, optimiser="muon", epochs=10, max_lr=3e-3)
    run = run_of(config, corpus, tmp_path / "run")
    adamw, muon = ([p for group in each.param_groups for p in group["params"]] for each in run.optimisers)
    assert all(p.ndim == 2 and min(p.shape) >= 128 for p in muon) and len(muon) > 5
    assert len(adamw) + len(muon) == len(list(run.encoder.parameters()))
    assert run.run(max_minutes=0.0) is False
    run = run_of(config, corpus, tmp_path / "run")  # its momentum is in the state
    assert run.run()
    losses = [epoch["loss"] for epoch in run.progress["history"]]
    assert losses[-1] < 0.7 * losses[0]


def test_two_views_that_agree_disagree_by_nothing_and_others_by_both_divergences():
    log_probs = torch.randn(2, 3, 5).log_softmax(-1)
    lengths = torch.tensor([3, 2, 3, 2])
    assert _disagreement(torch.cat([log_probs, log_probs]), lengths) == 0
    other = torch.randn(2, 3, 5).log_softmax(-1).requires_grad_()
    expected = sum(
        kl_divergence(Categorical(logits=a[row, :frames]), Categorical(logits=b[row, :frames])).sum()
        for row, frames in ((0, 3), (1, 2))
        for a, b in ((log_probs, other), (other, log_probs))
    )
    found = float(_disagreement(torch.cat([log_probs, other]), lengths).detach())
    assert found == pytest.approx(float(expected.detach()), rel=1e-5)


def test_consistency_trains_two_views_of_every_utterance(corpus, tmp_path):
    run = run_of(config_of("attention_unet", consistency=0.2, epochs=8), corpus, tmp_path / "run")
    batch = next(iter(run.loader(0, run.batches)))
    assert batch.views == 2 and len(batch.features) == 4 and batch.utterances[:2] == batch.utterances[2:]
    assert not torch.equal(batch.features[:2], batch.features[2:])
    assert torch.equal(batch.targets[:2], batch.targets[2:])
    assert run.run()
    losses = [epoch["loss"] for epoch in run.progress["history"]]
    assert losses[-1] < 0.8 * losses[0]


def test_broken_utterances_are_skipped_named_and_counted_once(corpus, tmp_path, capsys):
    broken = [*corpus, replace(corpus[3], id="gone", path=tmp_path / "gone.wav")]
    run = run_of(config_of("attention_unet"), broken, tmp_path / "run")
    assert run.run()
    printed = capsys.readouterr().out
    assert printed.count("Skipped gone: There is no file") == 1
    assert "1 utterances skipped in training" in printed
    assert list(run.progress["skipped"]) == ["gone"]


@pytest.mark.parametrize("head", ["head", "phone_head"])
def test_weights_that_are_not_finite_stop_the_run_with_the_utterance_and_the_weight(corpus, tmp_path, head):
    run = run_of(config_of("attention_unet"), corpus, tmp_path / "run")
    with torch.no_grad():
        getattr(run.encoder, head).bias[0] = float("nan")
    first = corpus[2:][run.batches[0][0]].id
    with pytest.raises(CtcError, match=f"NaN in 2 of 2 utterances: first in utterance {first}.*first {head}.bias"):
        run.run()


def test_the_doctor_says_nothing_against_a_healthy_run_and_is_told_where_it_goes_on(config, corpus, tmp_path, capsys):
    run = run_of(replace(config, epochs=8), corpus, tmp_path / "run")
    assert run.run(max_minutes=0.0) is False
    run = run_of(replace(config, epochs=8), corpus, tmp_path / "run")
    assert run.doctor.steps == 1 and run.run() and run.doctor.steps == 32
    said = [line for line in capsys.readouterr().out.splitlines() if "Doctor" in line]
    assert all("wait, because" in line for line in said) and len(said) <= 1


def test_a_text_that_cannot_fit_stops_the_run_with_its_utterance(corpus, tmp_path, monkeypatch):
    run = run_of(config_of("attention_unet"), corpus, tmp_path / "run")
    ordinary = run.encoder.forward

    def hasty(features, lengths):
        encoded = ordinary(features, lengths)
        return encoded._replace(lengths=encoded.lengths.clamp_max(2))

    monkeypatch.setattr(run.encoder, "forward", hasty)
    first = corpus[2:][run.batches[0][0]].id
    with pytest.raises(CtcError, match=f"2 of 2 texts cannot fit: utterance {first} needs . frames and has 2"):
        run.run()


def test_a_run_can_start_from_a_checkpoint(corpus, tmp_path):
    tiny_model().save(tmp_path / "start")
    run = run_of(config_of("attention_unet"), corpus, tmp_path / "run", init_from=str(tmp_path / "start"))
    loaded = checkpoint.load(tmp_path / "start").encoder.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in run.encoder.state_dict().items())


def test_a_checkpoint_of_another_encoder_is_no_start(corpus, tmp_path):
    tiny_model("deepspeech2").save(tmp_path / "start")
    with pytest.raises((checkpoint.CheckpointError, StateError), match="start"):
        run_of(config_of("attention_unet"), corpus, tmp_path / "run", init_from=str(tmp_path / "start"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_lr": 1e-3}, "max_lr"),
        ({"epochs": 3}, "epochs"),
        ({"seed": 9, "clip": 2.0}, "clip, seed"),
        ({}, "the training data"),
    ],
)
def test_other_settings_over_an_existing_run_are_refused_by_name(corpus, tmp_path, change, named):
    config = config_of("attention_unet")
    run_of(config, corpus, tmp_path / "run").run(max_minutes=0.0)
    with pytest.raises(StateError, match=f"other settings \\({named}\\).*another --out"):
        run_of(replace(config, **change), corpus if change else corpus[:-1], tmp_path / "run")


def test_another_encoder_over_an_existing_run_is_refused(corpus, tmp_path):
    run_of(config_of("attention_unet"), corpus, tmp_path / "run").run(max_minutes=0.0)
    with pytest.raises(StateError, match="another model"):
        run_of(config_of("deepspeech2"), corpus, tmp_path / "run")


@pytest.mark.parametrize("damage", [b"", b"not a state", None])
def test_a_damaged_state_is_refused(corpus, tmp_path, damage):
    run_of(config_of("attention_unet"), corpus, tmp_path / "run").run(max_minutes=0.0)
    state = tmp_path / "run" / STATE
    state.write_bytes(state.read_bytes()[:-50] if damage is None else damage)
    with pytest.raises(StateError, match="damaged.*Delete it"):
        run_of(config_of("attention_unet"), corpus, tmp_path / "run")


def test_a_state_holds_weights_optimiser_numbers_and_randomness(tmp_path):
    model, again = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(2)).sum().backward()
    optimiser.step()
    save_state(tmp_path / "state", {"model": model}, [optimiser], {"step": 7})
    expected = torch.rand(3)
    other = torch.optim.AdamW(again.parameters(), lr=0.5)
    assert load_state(tmp_path / "state", {"model": again}, [other]) == {"step": 7}
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(again.weight, model.weight)
    assert json.dumps(other.state_dict()["param_groups"]) == json.dumps(optimiser.state_dict()["param_groups"])
    for index, slots in optimiser.state_dict()["state"].items():
        assert all(torch.equal(other.state_dict()["state"][index][name], value) for name, value in slots.items())
