import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from synthetic import tiny_model, toy_corpus

from asr_core import checkpoint, replay
from asr_core.features import LogMel
from asr_core.replay import FILE, ReplayError, Snapshot
from asr_core.text import Alphabet
from asr_core.training.recorder import CLIPS, Recorder
from asr_core.transcriber import Transcriber


@pytest.fixture
def corpus(tmp_path):
    return toy_corpus(tmp_path, 8)


@pytest.fixture
def recorder(tmp_path, corpus):
    model = tiny_model()
    return Recorder(tmp_path / FILE, corpus, model.log_mel(), model.alphabet, model.encoder)


def test_a_snapshot_is_what_the_model_says_of_the_clip(recorder, corpus, tmp_path):
    model = tiny_model()
    recorder.record(model.encoder, 7, 0.5)
    told = replay.load(tmp_path / FILE)
    assert told.snapshots[0].step == 7 and told.snapshots[0].epoch == 0.5
    assert len(told.names) == CLIPS
    for clip in range(CLIPS):
        utterance = next(each for each in corpus if each.id == told.names[clip])
        expected = Transcriber(model).transcribe(utterance.path, "greedy").emission
        found = told.emission(0, clip)
        assert found.frame_s == expected.frame_s and told.texts[clip] == utterance.text
        assert (found.log_probs.exp() - expected.log_probs.exp()).abs().max() < 0.01  # 255ths of its root
        assert torch.allclose(found.log_probs.exp().sum(-1), torch.ones(len(found)), atol=1e-5)
        assert told.sound(clip).duration_s == pytest.approx(utterance.duration_s, abs=1e-3)


def test_it_goes_on_where_it_stopped_and_takes_no_step_twice(recorder, corpus, tmp_path):
    model = tiny_model()
    recorder.record(model.encoder, 0, 0.0)
    again = Recorder(tmp_path / FILE, corpus[:1], model.log_mel(), model.alphabet, model.encoder)
    again.record(model.encoder, 0, 0.0)
    again.record(model.encoder, 25, 1.0)
    told = replay.load(tmp_path / FILE)
    assert [each.step for each in told.snapshots] == [0, 25] and len(told.names) == CLIPS


def test_a_training_that_starts_from_another_goes_on_with_its_replay(recorder, corpus, tmp_path):
    model, path = tiny_model(), tmp_path / "next"
    for step, epoch in ((0, 0.0), (25, 1.5)):
        recorder.record(model.encoder, step, epoch)
    before = recorder.replay

    def begun(told=before) -> Recorder:
        return Recorder(path, corpus[-2:], model.log_mel(), model.alphabet, model.encoder, told)

    for step in (0, 3):
        begun().record(model.encoder, step, step / 6)  # a new one each time, as after an interruption
    begun(replace(before, snapshots=before.snapshots[:1])).record(model.encoder, 6, 1.0)  # a file that has changed since
    told = replay.load(path)
    assert [(each.step, each.epoch) for each in told.snapshots] == [(0, 0.0), (25, 1.5), (28, 2.0), (31, 2.5)]
    assert told.names == before.names and torch.equal(told.posteriors[1][2], before.posteriors[1][2])
    assert 0 in recorder.first_steps and not begun().first_steps, "what is between passes matters at first only"


def test_another_alphabet_begins_a_replay_of_its_own(recorder, corpus, tmp_path):
    model = tiny_model()
    recorder.record(model.encoder, 0, 0.0)
    before = replace(recorder.replay, alphabet=Alphabet(model.alphabet.labels[::-1], 0))
    again = Recorder(tmp_path / "next", corpus[-2:], model.log_mel(), model.alphabet, model.encoder, before)
    assert not again.replay.snapshots and again.first_steps


def test_recording_leaves_the_mode_and_the_random_numbers_alone(recorder):
    encoder = tiny_model().encoder.train()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    recorder.record(encoder, 1, 0.1)
    assert encoder.training and torch.equal(torch.rand(1), expected)


def test_clips_that_cannot_be_used_are_passed_over(tmp_path, corpus):
    model = tiny_model()
    corpus[0].path.write_bytes(b"broken")
    endless = [replace(corpus[1], text="a" * 500), replace(corpus[2], text="漢字"), replace(corpus[3], text="")]
    recorder = Recorder(tmp_path / FILE, [corpus[0], *endless, corpus[4]], model.log_mel(), model.alphabet, model.encoder)
    assert recorder.replay.names == (corpus[4].id,)
    none = Recorder(tmp_path / "none", [corpus[0]], model.log_mel(), model.alphabet, model.encoder)
    none.record(model.encoder, 0, 0.0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("how", ["cut", "noise", "lacks a clip", "other alphabet", "other header", "float samples"])
def test_a_damaged_replay_is_refused(recorder, tmp_path, how):
    recorder.record(tiny_model().encoder, 0, 0.0)
    path = tmp_path / FILE
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif how == "noise":
        path.write_bytes(bytes(range(200)))
    else:
        tensors = load_file(path)
        header = {"replay": json.dumps({"names": 3}) if how == "other header" else header_of(path)}
        if how == "lacks a clip":
            del tensors["posteriors.0.1"]
        elif how == "other alphabet":
            tensors["posteriors.0.1"] = tensors["posteriors.0.1"][:, :5].contiguous()
        elif how == "float samples":
            tensors["samples.0"] = tensors["samples.0"].float()
        save_file(tensors, path, metadata=header)
    with pytest.raises(ReplayError, match=r"^replay.safetensors .*\.$"):
        replay.load(path)


def header_of(path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()["replay"]


def test_a_hundred_snapshots_of_three_clips_stay_below_three_megabytes(tmp_path):
    alphabet, features = tiny_model().alphabet, replace(tiny_model().features)
    samples = tuple(torch.zeros(5 * 16_000, dtype=torch.int16) for _ in range(CLIPS))
    told = replay.Replay(features, alphabet, 0.04, ("a",) * CLIPS, ("a",) * CLIPS, samples)
    for step in range(100):
        log_probs = [torch.randn(125, len(alphabet)).log_softmax(-1) for _ in range(CLIPS)]
        told = told.with_snapshot(Snapshot(step, step / 10, 1.0), log_probs)
    told.save(tmp_path / FILE)
    assert (tmp_path / FILE).stat().st_size < 3_000_000
    assert LogMel(replay.load(tmp_path / FILE).features).config == features


def test_a_training_leaves_its_replay_beside_its_checkpoints(tmp_path, corpus):
    from test_training import config_of, run_of

    run = run_of(config_of("attention_unet"), corpus, tmp_path / "run")
    assert run.run()
    steps = [each.step for each in replay.load(tmp_path / "run" / "best" / FILE).snapshots]
    assert steps[0] == 0 and len(steps) >= 2
    assert [each.step for each in replay.load(tmp_path / "run" / "last" / FILE).snapshots] == [0, 3, 6]
    run = run_of(config_of("attention_unet"), corpus, tmp_path / "second", init_from=str(tmp_path / "run" / "last"))
    assert run.run()
    assert [each.step for each in replay.load(tmp_path / "second" / "last" / FILE).snapshots] == [0, 3, 6, 9, 12]
    assert checkpoint.load(tmp_path / "run" / "best").alphabet == tiny_model().alphabet
