"""watch in other people's loops: what it says, when, and how seldom it looks; and in our own."""

import gc
import math
import re
import weakref

import pytest
import torch
from torch.nn import functional as F
from toy import BLANK, Toy, right, spoken, train

import asr_core
from asr_core.doctor import watch


def strangers_loop(doctor, model, feed=right, steps=30, halve=1, spoil=None, after=lambda loss: loss, seed=0):
    """A plain PyTorch loop of somebody else's, with whatever is wrong in it."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = spoken(seed=seed + step % 10)
        features = spoil(step, batch["features"].clone()) if spoil else batch["features"]
        log_probs = feed(model(features, batch["lengths"]))
        input_lengths = batch["lengths"] // halve
        loss = after(F.ctc_loss(log_probs, batch["targets"], input_lengths, batch["target_lengths"], blank=BLANK))
        doctor.step(log_probs, batch["targets"], input_lengths, batch["target_lengths"], loss)
        optimiser.zero_grad()
        if loss.requires_grad:
            loss.backward()
            optimiser.step()


def said_of(model, **wrong) -> list[str]:
    said: list[str] = []
    strangers_loop(watch(model, blank=BLANK, say=said.append), model, **wrong)
    return said


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"feed": lambda logits: logits.softmax(-1).transpose(0, 1)}, 1),
        ({"feed": lambda logits: logits.transpose(0, 1)}, 2),
        ({"feed": lambda logits: logits.log_softmax(0).transpose(0, 1)}, 3),
        ({"feed": lambda logits: right(logits.softmax(-1))}, 4),
        ({"feed": lambda logits: right(logits).detach()}, 6),
        ({"feed": lambda logits: logits.log_softmax(-1).reshape(logits.shape[1], logits.shape[0], -1)}, 8),
        ({"halve": 8}, 10),
    ],
)
def test_a_strangers_mistake_is_named_at_the_first_step_in_one_sentence_and_once(wrong, rule):
    said = said_of(Toy(), **wrong)
    stops = [sentence for sentence in said if "stop, because" in sentence]
    assert len(stops) == 1
    assert stops[0].startswith("Doctor, step 0: stop, because ") and f"(Rule {rule}: " in stops[0]


def test_a_healthy_loop_is_told_to_wait_while_there_are_only_blanks_and_then_nothing():
    assert said_of(Toy(seed=1), steps=120) in ([], [f"Doctor, step 25: {WAIT}"], [f"Doctor, step 50: {WAIT}"])
    silent = said_of(Toy(), steps=60, spoil=lambda step, features: 0 * features)
    assert len(silent) == 1
    assert re.match(r"Doctor, step (25|50): wait, because \d+% of the frames are blanks, which is how every CTC", silent[0])


WAIT = (
    "wait, because 100% of the frames are blanks, which is how every CTC model begins: worry if it lasts beyond step 5,000."
)


def test_the_first_utterance_that_is_not_finite_is_named_when_it_comes():
    def spoil(step, features):
        if step == 17:
            features[2, 3] = math.nan
        return features

    said = said_of(Toy(), spoil=spoil)
    (sentence,) = [sentence for sentence in said if "step 17" in sentence]
    assert "stop, because log_probs holds NaN in 1 of 6 utterances: first in utterance 2 of the batch" in sentence
    assert sum("stop" in sentence for sentence in said) == 1, "the NaN that follow have the same cause"


def test_the_id_is_named_where_there_is_one():
    said, batch, model = [], spoken(), Toy()
    log_probs = right(model(batch["features"], batch["lengths"]))
    lengths = batch["lengths"].clone()
    lengths[4] = 2
    ids = [f"clip-{number}" for number in range(6)]
    doctor = watch(model, blank=BLANK, say=said.append)
    diagnosis = doctor.step(log_probs, batch["targets"], lengths, batch["target_lengths"], math.inf, ids=ids)
    assert [finding.rule for finding in diagnosis.errors] == [12]
    assert "utterance clip-4 needs" in said[0] and "has 2" in said[0]


def test_a_negative_loss_that_no_mistake_explains_is_put_down_to_another_term():
    said = said_of(Toy(), after=lambda loss: loss - 100)
    assert [sentence for sentence in said if "another term is subtracted" in sentence] and not any("stop" in s for s in said)


def test_a_loss_that_stays_negative_is_examined_less_and_less():
    doctor = watch(None, blank=BLANK, say=lambda sentence: None)
    batch = spoken()
    tensors = (
        right(torch.zeros(6, int(batch["lengths"].max()), 12)),
        batch["targets"],
        batch["lengths"],
        batch["target_lengths"],
    )
    examined = [step for step in range(200) if doctor.step(*tensors, -1.0) is not None]
    assert len(examined) < 15


def test_it_looks_at_the_first_batches_and_then_at_growing_intervals():
    batch = spoken()
    tensors = (
        right(torch.randn(6, int(batch["lengths"].max()), 12)),
        batch["targets"],
        batch["lengths"],
        batch["target_lengths"],
    )
    doctor = watch(blank=BLANK, say=print)
    assert [step for step in range(500) if doctor.step(*tensors, 1.0)] == [0, 1, 2, 25, 50, 100, 200, 400]
    doctor = watch(blank=BLANK, say=print, steps_done=1_000)
    assert [step for step in range(1_000, 1_120) if doctor.step(*tensors, 1.0)] == [1_000, 1_001, 1_002, 1_025, 1_050, 1_100]


def test_a_gradient_that_is_never_finite_and_one_that_explodes_are_told():
    batch, said = spoken(), []
    tensors = (
        right(torch.randn(6, int(batch["lengths"].max()), 12)),
        batch["targets"],
        batch["lengths"],
        batch["target_lengths"],
    )
    doctor = watch(blank=BLANK, say=said.append)
    for step in range(1_000):
        doctor.step(*tensors, 1.0, gradient_norm=1e6 if step == 400 else 2.0)
    assert [sentence.split(":")[0] for sentence in said] == ["Doctor, step 400"] and "1e+06 and usually 2" in said[0]
    doctor, said = watch(blank=BLANK, say=said.append), said[:0]
    doctor.say = said.append
    for _ in range(60):
        doctor.step(*tensors, 1.0, gradient_norm=math.inf)
    assert len(said) == 1 and "step 50: stop, because the gradient is not finite" in said[0]


def test_the_gradient_is_measured_where_it_is_not_given():
    model = Toy()
    train(model, 1)
    doctor, batch = watch(model, blank=BLANK, say=print), spoken()
    log_probs = right(model(batch["features"], batch["lengths"]))
    for _ in range(26):
        doctor.step(log_probs, batch["targets"], batch["lengths"], batch["target_lengths"], 1.0)
    expected = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert doctor.gradient_norms == [pytest.approx(expected, rel=1e-5)]


def test_shapes_that_make_no_batch_are_a_sentence_and_not_an_exception():
    said = []
    doctor = asr_core.watch(blank=BLANK, say=said.append)
    for _ in range(2):
        assert doctor.step(torch.randn(5, 3, 4).log_softmax(-1), torch.ones(2, 2), [5, 5], [2, 2], 1.0) is None
    assert len(said) == 1 and "stop, because log_probs has shape (5, 3, 4) and there are 2 target lengths" in said[0]


def test_no_tensor_of_the_callers_is_kept():
    doctor, batch, model = watch(blank=BLANK, say=print), spoken(), Toy()
    log_probs = right(model(batch["features"], batch["lengths"]))
    gone = weakref.ref(log_probs)
    version, before = log_probs._version, log_probs.detach().clone()
    doctor.step(log_probs, batch["targets"], batch["lengths"], batch["target_lengths"], log_probs.sum())
    assert log_probs._version == version and torch.equal(log_probs, before)
    del log_probs
    gc.collect()
    assert gone() is None
