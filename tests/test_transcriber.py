import numpy as np
import pytest
import soundfile as sf
import torch
from synthetic import MELS, RATE, speech_like, tiny_model, tone

from asr_core.audio import AudioError
from asr_core.data.batches import SpeechDataset, collate
from asr_core.data.utterances import Utterance
from asr_core.models import ENCODERS, AttentionUNet
from asr_core.transcriber import Transcriber

WINDOW, CONTEXT = AttentionUNet.window, AttentionUNet.context
# The tiny attention encoder sees under 200 feature frames to each side, far less than CONTEXT, so that windows lose
# nothing: what remains is float32 rounding, of the rotary angles above all.
TOLERANCE = 1e-4  # of a log-probability


@pytest.fixture(params=sorted(ENCODERS))
def transcriber(request):
    return Transcriber(tiny_model(request.param))


@pytest.fixture
def reader():
    return Transcriber(tiny_model("attention_unet"))


def whole(transcriber: Transcriber, features: torch.Tensor) -> torch.Tensor:
    """(T, M) -> (T', V), in one go."""
    with torch.inference_mode():
        encoded = transcriber.model.encoder(features.T[None, None], torch.tensor([len(features)]))
    return encoded.logits[0].log_softmax(-1)


@torch.inference_mode()
def windowed(transcriber: Transcriber, features: torch.Tensor) -> torch.Tensor:
    return transcriber.logits(features).log_softmax(-1)


def test_a_recording_of_90_seconds_read_in_windows_is_the_whole_everywhere(reader):
    features = reader.log_mel(torch.from_numpy(speech_like(90.0)))
    assert len(features) > WINDOW + 2 * CONTEXT  # or nothing would be cut
    expected = whole(reader, features)
    got = windowed(reader, features)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() < TOLERANCE


def test_without_context_the_seams_would_show(reader, monkeypatch):
    features = reader.log_mel(torch.from_numpy(speech_like(90.0)))
    monkeypatch.setattr(AttentionUNet, "context", 0)
    worst = (windowed(reader, features) - whole(reader, features)).abs().amax(-1)  # (T',)
    seam = WINDOW // 4
    assert worst[seam - 3 : seam + 3].max() > 100 * TOLERANCE


@pytest.mark.parametrize("extra", [0, 1, 2, 3, 4, 5, 7, 8, 9, 1_999, 2_000, 2_001])
def test_every_length_gives_the_frames_that_the_encoder_would(reader, extra):
    features = torch.randn(WINDOW + 2 * CONTEXT + extra, MELS, generator=torch.Generator().manual_seed(extra))
    got = windowed(reader, features)
    assert len(got) == reader.model.encoder.output_lengths(len(features))
    assert (got - whole(reader, features)).abs().max() < TOLERANCE


def test_the_same_clip_gives_the_same_log_probs_twice(transcriber, clip_path):
    first, second = transcriber.transcribe(clip_path), transcriber.transcribe(clip_path)
    assert torch.equal(first.emission.log_probs, second.emission.log_probs)
    assert first.text == second.text


def test_path_bytes_and_array_are_the_same_recording(transcriber, clip_path):
    samples, rate = sf.read(clip_path, dtype="int16")
    sources = [clip_path, str(clip_path), clip_path.read_bytes(), (rate, samples)]
    results = [transcriber.transcribe(source) for source in sources]
    for result in results[1:]:
        assert torch.allclose(result.emission.log_probs, results[0].emission.log_probs, atol=1e-5)
        assert result.text == results[0].text


def test_a_transcription_carries_what_explains_it(transcriber, clip_path):
    result = transcriber.transcribe(clip_path)
    subsampling = transcriber.model.encoder.subsampling
    assert result.duration_s == pytest.approx(2.0)
    assert result.sound.features.shape == (201, MELS)
    assert result.emission.frame_s == pytest.approx(0.01 * subsampling)
    assert len(result.emission) == len(result.path) == transcriber.model.encoder.output_lengths(201)
    assert torch.allclose(result.emission.log_probs.logsumexp(-1), torch.zeros(len(result.path)), atol=1e-5)


def test_a_clip_in_a_training_batch_has_the_log_probs_of_the_clip_alone(transcriber, tmp_path):
    model, utterances = transcriber.model, []
    for number, seconds in enumerate([3.0, 1.1, 2.3]):
        path = tmp_path / f"{number}.wav"
        sf.write(path, speech_like(seconds, number), RATE)
        utterances.append(Utterance(str(number), path, "a", seconds, "speaker"))
    dataset = SpeechDataset(utterances, model.log_mel(), model.alphabet, model.encoder.output_lengths)
    batch = collate([dataset[index] for index in range(3)])
    with torch.inference_mode():
        encoded = model.encoder(batch.features, batch.feature_lengths)
    for utterance, logits, length in zip(utterances, encoded.logits, encoded.lengths.tolist(), strict=True):
        alone = transcriber.transcribe(utterance.path).emission.log_probs
        assert torch.allclose(logits[:length].log_softmax(-1), alone, atol=1e-5)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(RATE, np.float32), tone(0.05), np.full(RATE, np.nan, np.float32), np.zeros((RATE, 0), np.float32)],
    ids=["silent", "short", "nan", "no channels"],
)
def test_what_cannot_be_heard_is_refused(transcriber, samples):
    with pytest.raises(AudioError):
        transcriber.transcribe((RATE, samples))


def test_the_shortest_clip_allowed_is_transcribed(transcriber):
    assert len(transcriber.transcribe((RATE, tone(0.1))).path) > 0


def test_a_transcriber_comes_from_a_checkpoint_folder(checkpoint_folder, clip_path):
    loaded = Transcriber.from_checkpoint(checkpoint_folder).transcribe(clip_path)
    built = Transcriber(tiny_model()).transcribe(clip_path)
    assert torch.allclose(loaded.emission.log_probs, built.emission.log_probs, atol=0.05)  # float16 weights
