"""Long silence costs nothing and says nothing; everything else is what the encoder makes of it."""

import numpy as np
import pytest
import torch
from synthetic import MELS, RATE, speech_like, tiny_model

from asr_core import Transcriber
from asr_core.encoding import MARGIN, SHORTEST, SURE, Encoding, encode, encode_batch
from asr_core.features import WHISPER, LogMel
from asr_core.models import AttentionUNet

SILENT, LOUD = -5.0, 0.0  # of the tiny model's features; what is silent lies below -1.9


@pytest.fixture
def model():
    return tiny_model()


def recording(*stretches: int) -> torch.Tensor:
    """(T, M): sound and silence in turn, of so many frames each."""
    random = torch.Generator().manual_seed(sum(stretches))
    parts = [
        torch.full((frames, MELS), SILENT) if number % 2 else LOUD + torch.rand(frames, MELS, generator=random)
        for number, frames in enumerate(stretches)
    ]
    return torch.cat(parts)


class Counting:
    """A model that tells which pieces it is given; everything else is the real one's."""

    def __init__(self, model):
        self.model, self.pieces = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode(self, rows):
        self.pieces.append(len(rows))
        return self.model.encode(rows)


@pytest.mark.parametrize("stretches", [(300,), (100, SHORTEST - 1, 100), (0, SHORTEST - 1, 50), (77, 200, 9, 300, 3)])
def test_without_a_long_silence_it_is_the_encoder_in_one_piece(model, stretches):
    rows = recording(*stretches)
    with torch.no_grad():
        assert torch.equal(encode(model, rows), model.encode(rows))


@pytest.mark.parametrize(
    "stretches",
    [(100, 400, 100), (0, 1_000, 200), (203, 1_001), (0, 402, 5, 403, 6, 3_000, 7), (1, 5_000, 1), (50, 640, 1_000, 999, 1)],
)
def test_a_long_silence_gives_blanks_frame_for_frame_and_is_not_encoded(model, stretches):
    rows, counting = recording(*stretches), Counting(model)
    with torch.no_grad():
        outputs = encode(counting, rows)
    assert len(outputs) == model.encoder.output_lengths(len(rows))
    long = [frames for frames in stretches[1::2] if frames >= SHORTEST]
    assert sum(counting.pieces) <= len(rows) - sum(long) + (2 * MARGIN + 16) * len(long)
    probabilities = outputs[:, : len(model.alphabet)].softmax(-1)
    start = 0
    for number, frames in enumerate(stretches):
        if number % 2 and frames >= SHORTEST:  # beyond the margin that is still encoded
            inside = probabilities[(start + MARGIN) // 4 + 3 : (start + frames - MARGIN) // 4 - 3]
            assert (inside[:, model.alphabet.blank] > 0.999).all() and len(inside) > 60
        start += frames


def test_sound_beside_a_long_silence_is_heard_as_if_nothing_followed(model):
    """The frames lie where they lay: silence of any length moves what comes after it by just its own length."""
    with torch.no_grad():
        for frames in (400, 401, 555, 1_204):
            first, second = recording(200), recording(160)
            silence = torch.full((frames, MELS), SILENT)
            outputs = encode(model, torch.cat([first, silence, second]))
            assert torch.allclose(outputs[:40], model.encode(torch.cat([first, silence[:MARGIN]]))[:40], atol=1e-5)
            begin = (200 + frames - MARGIN) // 8 * 8
            alone = model.encode(torch.cat([first, silence, second])[begin:])
            assert torch.allclose(outputs[begin // 4 :], alone, atol=1e-5)


@pytest.mark.parametrize("piece", [1, 7, 100, 5_000])
def test_pieces_of_any_size_give_what_the_whole_gives(model, piece, monkeypatch):
    monkeypatch.setattr(AttentionUNet, "window", 160)
    monkeypatch.setattr(AttentionUNet, "context", 80)
    rows, encoding = recording(700, 450, 30, 399, 900, 2_000, 1), Encoding(model)
    with torch.no_grad():
        pieces = [each for start in range(0, len(rows), piece) for each in encoding.feed(rows[start : start + piece])]
        assert torch.allclose(torch.cat([*pieces, *encoding.finish()]), encode(model, rows), atol=1e-5)


def test_a_batch_gives_what_each_recording_gives_alone(model, monkeypatch):
    monkeypatch.setattr(AttentionUNet, "window", 400)
    monkeypatch.setattr(AttentionUNet, "context", 80)
    recordings = [recording(300), recording(50, 500, 40), recording(900), recording(10), recording(299, 450)]
    with torch.no_grad():
        for rows, outputs in zip(recordings, encode_batch(model, recordings), strict=True):
            assert torch.allclose(outputs, encode(model, rows), atol=1e-4)


def test_phones_are_blank_in_silence_too(model):
    with torch.no_grad():
        outputs = encode(model, recording(0, 2_000, 100))
    phones = outputs[:400, len(model.alphabet) :]
    assert phones.shape[1] == model.phones and (phones[:, -1] == SURE).all() and (phones[:, :-1] == 0).all()
    assert (outputs[:400, model.alphabet.blank] == SURE).all()


def test_digital_silence_is_silent_and_quiet_speech_is_not():
    """With Whisper's features: 40 dB below a normal level most frames still sound."""
    log_mel, clip = LogMel(WHISPER), torch.from_numpy(speech_like(6.0))
    assert (log_mel(clip * 0.01).amax(1) >= WHISPER.silence).float().mean() > 0.5
    assert (log_mel(torch.zeros(RATE)) < WHISPER.silence).all()
    dither = torch.from_numpy(np.random.default_rng(0).integers(-1, 2, RATE).astype(np.float32) / 2**15)  # a bit up or down
    assert (log_mel(dither).amax(1) < WHISPER.silence).all()


def test_twenty_seconds_of_zeros_before_a_clip_move_what_is_heard_by_twenty_seconds():
    transcriber, clip = Transcriber(tiny_model()), speech_like(6.0)
    seconds = {20.0: None, MARGIN / 100: None}
    for before_s in seconds:
        samples = np.concatenate([np.zeros(round(before_s * RATE), np.float32), clip])
        seconds[before_s] = transcriber.transcribe((RATE, samples), "greedy").emission.log_probs
    later, alone = seconds.values()
    assert len(later) - len(alone) == (2_000 - MARGIN) // 4
    near = 60  # encoder frames from which the tiny model still sees where its section began
    assert (later[-len(alone) :] - alone)[near:].abs().max() < 1e-3  # the sound's frames are computed in other pieces
    assert (later[: -len(alone) - 4].argmax(1) == transcriber.model.alphabet.blank).all()
