"""What is right stays without an error: random valid batches, and whole trainings, watched from the first step."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from toy import LABELS

from asr_core.ctc import frames_needed
from asr_core.doctor import RULES, EvidenceError, Severity, diagnose, watch
from asr_core.models import build_encoder
from asr_core.training.config import PRESETS

VOCABULARY, BLANK = len(LABELS), 0
MELS = 12
SHAPES = {
    "fast": {
        "channels": 2,
        "width": 32,
        "hidden": 48,
        "heads": 2,
        "inner_blocks": 2,
        "context": 20,
        "phone_block": 1,
        "dropout": 0.1,
    },
    "deepspeech2": {"channels": 2, "cnn_blocks": 1, "lstm_layers": 1, "lstm_size": 32, "dropout": 0.1},
}
STEPS = {"fast": 300, "deepspeech2": 200}


@st.composite
def valid_batches(draw):
    """Any batch that CTC can align, small or large, of any sharpness, padded or in one row."""
    vocabulary = draw(st.sampled_from([2, 3, 5, 12, 29, 200]))
    blank = draw(st.integers(0, vocabulary - 1))
    utterances = draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    alphabet = [token for token in range(vocabulary) if token != blank]
    few = draw(st.integers(1, len(alphabet)))  # few letters: many repeats
    longest = draw(st.sampled_from([1, 4, 30]))
    rows = [random.choice(alphabet[:few], random.integers(1, longest + 1)) for _ in range(utterances)]
    needed = [len(row) + sum(a == b for a, b in itertools.pairwise(row)) for row in rows]
    lengths = [count + int(random.integers(0, draw(st.sampled_from([1, 5, 100])))) for count in needed]
    frames = max(lengths) + draw(st.sampled_from([0, 0, 1, 7]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    scale = draw(st.sampled_from([0.0, 0.05, 1.0, 30.0, 300.0]))
    logits = scale * torch.from_numpy(random.standard_normal((frames, utterances, vocabulary))).to(dtype)
    logits[..., blank] += draw(st.sampled_from([0.0, 1.0, 10.0, -10.0]))
    targets = [torch.from_numpy(row) for row in rows]
    padding = draw(st.sampled_from([blank, 0, -1, vocabulary]))
    shaped = torch.cat(targets) if draw(st.booleans()) else torch.nn.utils.rnn.pad_sequence(targets, True, padding)
    log_probs = logits.log_softmax(-1)
    if draw(st.booleans()):  # attention over nothing leaves NaN in the padding
        log_probs[torch.arange(frames)[:, None] >= torch.tensor(lengths)[None, :]] = torch.nan
    return (log_probs.numpy() if draw(st.booleans()) else log_probs), shaped, lengths, [len(row) for row in rows], blank


@settings(max_examples=300)
@given(valid_batches(), st.sampled_from([None, 0, 40]))
def test_a_valid_batch_has_no_error_and_its_loss_is_torchs(batch, step):
    log_probs, targets, input_lengths, target_lengths, blank = batch
    diagnosis = diagnose(log_probs, targets, input_lengths, target_lengths, blank=blank, step=step)
    assert diagnosis.errors == ()
    assert diagnosis.infeasible == 0
    lengths = torch.tensor(input_lengths), torch.tensor(target_lengths)
    losses = F.ctc_loss(torch.as_tensor(log_probs), targets, *lengths, blank=blank, reduction="none")
    assert diagnosis.loss == pytest.approx(float(losses.sum()) / sum(target_lengths), rel=1e-4, abs=1e-5)


@given(valid_batches())
def test_uniform_log_probs_have_the_loss_to_expect_and_say_nothing_of_the_audio(batch):
    log_probs, targets, input_lengths, target_lengths, blank = batch
    uniform = torch.zeros(log_probs.shape, dtype=torch.float64).log_softmax(-1)
    diagnosis = diagnose(uniform, targets, input_lengths, target_lengths, blank=blank)
    assert diagnosis.errors == ()
    assert diagnosis.expected_initial_loss == pytest.approx(diagnosis.loss, rel=1e-5, abs=1e-9)
    if diagnosis.ignores_audio_ratio is not None:
        assert diagnosis.ignores_audio_ratio == pytest.approx(1.0)


def made_speech(frames_a_letter: int, seed: int, utterances: int = 4) -> tuple[torch.Tensor, ...]:
    """features (B, 1, M, T), lengths (B,), targets (B, L), target_lengths (B,): a mel band for each letter, and a pause."""
    draw = np.random.default_rng(seed)
    rows, texts = [], []
    for number in range(utterances):
        letters = draw.integers(1, VOCABULARY, 6 - number % 3)
        bands = [band for letter in letters for band in [letter] * frames_a_letter + [0] * (frames_a_letter // 2)]
        rows.append(torch.from_numpy(2 * np.eye(MELS)[bands] + 0.3 * draw.standard_normal((len(bands), MELS))).float())
        texts.append(torch.from_numpy(letters))
    features = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2)[:, None]
    lengths, counts = (torch.tensor([len(row) for row in each]) for each in (rows, texts))
    return features, lengths, torch.nn.utils.rnn.pad_sequence(texts, batch_first=True), counts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("preset", SHAPES)
def test_a_healthy_training_is_never_stopped(preset, seed):
    """Both encoders, of the presets' shape but small, with the Doctor watching and a full diagnosis every 25 steps."""
    torch.manual_seed(seed)
    name = PRESETS[preset].encoder["name"]
    encoder = build_encoder({"name": name, "n_mels": MELS, "vocabulary": VOCABULARY, **SHAPES[preset]})
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-2 if preset == "fast" else 2e-2)
    frames_a_letter = 4 * encoder.subsampling
    said, ratios = [], []
    doctor = watch(encoder, blank=BLANK, say=said.append)
    for step in range(STEPS[preset] + 1):
        features, lengths, targets, counts = made_speech(frames_a_letter // 2, seed * 100 + step % 10)
        encoded = encoder(features, lengths)
        log_probs = encoded.logits.log_softmax(-1).transpose(0, 1)
        assert bool((frames_needed(targets, counts) <= encoded.lengths).all())
        loss = F.ctc_loss(log_probs, targets, encoded.lengths, counts, blank=BLANK)
        doctor.step(log_probs, targets, encoded.lengths, counts, loss, durations=lengths)
        if step % 25 == 0:
            facts = {"loss": loss, "step": step, "durations": lengths, "labels": LABELS, "model": encoder}
            batch = (features, lengths)
            diagnosis = diagnose(log_probs, targets, encoded.lengths, counts, blank=BLANK, **facts, batch=batch)
            assert [finding for finding in diagnosis.findings if finding.severity is not Severity.NOTE] == [], step
            ratios.append(diagnosis.ignores_audio_ratio)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
    assert ratios[0] == pytest.approx(1, abs=0.1) and ratios[-1] < 0.25, "it converges"
    assert not [sentence for sentence in said if "wait, because" not in sentence]


def test_light_rules_never_wait_for_heavy_ones():
    assert sorted(RULES) == list(range(1, 29))
    for each in RULES.values():
        assert each.heavy or not any(RULES[other].heavy for other in each.unless)


FEEDS = [
    lambda x: x, lambda x: x.log_softmax(-1), lambda x: x.softmax(-1), lambda x: x.softmax(-1).log(),
    lambda x: x * torch.nan, lambda x: x + torch.inf, lambda x: x.log_softmax(0), lambda x: x.half(),
    lambda x: x.bfloat16().float(),
]  # fmt: skip


@settings(max_examples=300)
@given(st.data())
def test_whatever_the_tensors_hold_the_answer_is_a_diagnosis_or_a_sentence(data):
    frames, utterances, vocabulary, longest = (
        data.draw(st.sampled_from(sizes)) for sizes in ([1, 2, 20, 60], [1, 2, 5], [1, 2, 12], [0, 1, 8])
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    shape = data.draw(st.permutations([frames, utterances, vocabulary]))
    log_probs = data.draw(st.sampled_from(FEEDS))(
        data.draw(st.sampled_from([0, 1, 100])) * torch.randn(shape, generator=generator)
    )
    target_lengths = torch.randint(data.draw(st.sampled_from([-1, 0])), longest + 1, (utterances,), generator=generator)
    width = (utterances, longest) if data.draw(st.booleans()) else (int(target_lengths.clamp_min(0).sum()),)
    targets = torch.randint(-1, vocabulary + 1, width, generator=generator)
    input_lengths = torch.randint(0, frames + 3, (utterances,), generator=generator)
    options = {
        "step": data.draw(st.sampled_from([None, 0, 9_000])),
        "loss": data.draw(st.sampled_from([None, 1.0, float("nan"), torch.tensor(2.0)])),
        "reduction": data.draw(st.sampled_from([None, "mean", "sum", "none"])),
        "durations": data.draw(st.sampled_from([None, input_lengths.float()])),
        "labels": data.draw(st.sampled_from([None, LABELS[:vocabulary]])),
    }
    try:
        diagnosis = diagnose(log_probs, targets, input_lengths, target_lengths, **options)
    except EvidenceError as refused:
        assert "expected" in str(refused) or "columns" in str(refused)
    else:
        assert str(diagnosis) and diagnosis.as_json()
