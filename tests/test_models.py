import math

import pytest
import torch
from synthetic import MELS, tiny_encoder
from torch import nn
from torch.nn import functional as F

from asr_core.models import (
    ENCODERS,
    AttentionUNet,
    AttentionUNetConfig,
    DeepSpeech2,
    DeepSpeech2Config,
    WhisperCTC,
    WhisperCTCConfig,
    build_encoder,
    describe_encoder,
)
from asr_core.models.deepspeech2 import BiLSTM
from asr_core.models.masking import frame_mask, strided_length
from asr_core.models.whisper_ctc import FUSED_FROM, Dropout, positions
from asr_core.training.config import PRESETS


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def clips(*lengths: int) -> list[torch.Tensor]:
    """Each (M, T)."""
    generator = torch.Generator().manual_seed(len(lengths))
    return [torch.randn(MELS, length, generator=generator) for length in lengths]


def padded_batch(features: list[torch.Tensor], padding: float) -> torch.Tensor:
    """(B, 1, M, T) with random numbers of size `padding` past each clip."""
    frames = max(clip.shape[1] for clip in features) + 9
    batch = padding * torch.randn(len(features), 1, MELS, frames)
    for row, clip in zip(batch, features, strict=True):
        row[0, :, : clip.shape[1]] = clip
    return batch


def test_the_starting_model_has_its_31_055_645_parameters():
    with torch.device("meta"):
        assert DeepSpeech2(DeepSpeech2Config()).parameter_count == 31_055_645


def test_output_lengths_are_those_of_the_real_output(encoder):
    lengths = range(1, 401)
    real = [encoder(torch.zeros(1, 1, MELS, length), torch.tensor([length])).logits.shape[1] for length in lengths]
    assert real == [encoder.output_lengths(length) for length in lengths]
    assert real == encoder.output_lengths(torch.tensor(lengths)).tolist()


def test_subsampling_is_the_number_of_feature_frames_in_an_encoder_frame(encoder):
    assert encoder.output_lengths(1_000 * encoder.subsampling) == 1_000


@pytest.mark.parametrize("name", ["attention_unet", "whisper_ctc"])
def test_the_phone_head_has_the_frames_of_the_output(name):
    encoder = tiny_encoder(name)
    for length in range(1, 40):
        encoded = encoder(torch.zeros(1, 1, MELS, length), torch.tensor([length]))
        assert encoded.phone_logits.shape == (1, encoded.logits.shape[1], 40)
    assert tiny_encoder("deepspeech2")(torch.zeros(1, 1, MELS, 9), torch.tensor([9])).phone_logits is None


@pytest.mark.parametrize("padding", [0.0, 1.0, 1e6, float("nan")])
def test_a_clip_alone_is_the_clip_in_a_padded_batch(encoder, padding):
    features = clips(101, 64, 37, 33, 8, 7, 2, 1)
    lengths = torch.tensor([clip.shape[1] for clip in features])
    together = encoder(padded_batch(features, padding), lengths)
    assert torch.equal(together.lengths, encoder.output_lengths(lengths))
    for clip, logits, length in zip(features, together.logits, together.lengths.tolist(), strict=True):
        alone = encoder(clip[None, None], torch.tensor([clip.shape[1]]))
        assert torch.allclose(alone.logits[0], logits[:length], atol=1e-5)


@pytest.mark.parametrize("name", ["attention_unet", "whisper_ctc"])
def test_phone_logits_alone_are_those_in_a_padded_batch(name):
    encoder = tiny_encoder(name)
    features = clips(101, 64, 33, 7, 1)
    lengths = torch.tensor([clip.shape[1] for clip in features])
    together = encoder(padded_batch(features, 1e6), lengths)
    for clip, logits, length in zip(features, together.phone_logits, together.lengths.tolist(), strict=True):
        alone = encoder(clip[None, None], torch.tensor([clip.shape[1]]))
        assert torch.allclose(alone.phone_logits[0], logits[:length], atol=1e-5)


def test_the_output_depends_on_the_features(encoder):
    first, second = (clip[None, None] for clip in clips(50, 50))
    length = torch.tensor([50])
    assert (encoder(first, length).logits - encoder(second, length).logits).abs().max() > 1e-3


def test_the_dense_bilstm_is_torchs_own_on_packed_sequences():
    torch.manual_seed(0)
    ours = BiLSTM(input_size=6, size=5, dropout=0.5).eval()
    theirs = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    for direction, suffix in ((ours.ahead, ""), (ours.back, "_reverse")):
        for name, weight in direction.named_parameters():
            getattr(theirs, name + suffix).copy_(weight)
    x, lengths = torch.randn(4, 20, 6), torch.tensor([20, 13, 2, 1])
    packed = nn.utils.rnn.pack_padded_sequence(F.gelu(ours.norm(x)), lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    mask = frame_mask(lengths, 20)
    assert torch.allclose(ours(x, lengths)[mask], expected[mask], atol=1e-6)


def test_attention_reaches_its_context_and_no_further():
    config = AttentionUNetConfig(MELS, channels=2, width=16, hidden=24, heads=2, inner_blocks=1, context=3, phone_block=1)
    torch.manual_seed(0)
    encoder = AttentionUNet(config).eval()
    features, length = torch.randn(1, 1, MELS, 400), torch.tensor([400])
    changed = features.clone()
    changed[..., 200] += 5.0
    difference = (encoder(features, length).logits - encoder(changed, length).logits)[0].abs().amax(-1)  # (T',)
    # Attention and its feed-forward reach 4 inner frames of 8 feature frames; convolutions, entry and exit a few more.
    far = (torch.arange(len(difference)) * 4 - 200).abs() > 4 * 8 + 24
    assert difference[far].max() < 1e-6
    assert difference[50 + 2 * 3] > 1e-6  # attention itself: three inner frames, twice as many outputs, further on


def test_plain_products_in_training_are_the_fused_attention():
    """Below FUSED_FROM frames in training, scaled_dot_product_attention otherwise: the same, padding and all."""
    config = WhisperCTCConfig(MELS, width=16, heads=2, blocks=2, phone_block=1)
    torch.manual_seed(0)
    encoder = WhisperCTC(config)
    features = clips(101, 64, 7, 1)
    batch, lengths = padded_batch(features, 1.0), torch.tensor([clip.shape[1] for clip in features])
    assert batch.shape[-1] // 2 < FUSED_FROM
    plain, fused = encoder.train()(batch, lengths), encoder.eval()(batch, lengths)
    for row, length in enumerate(plain.lengths.tolist()):
        assert torch.allclose(plain.outputs[row, :length], fused.outputs[row, :length], atol=1e-4)


def test_a_letter_depends_on_the_whole_clip_and_on_where_in_it_it_lies():
    encoder = tiny_encoder("whisper_ctc")
    features, length = torch.randn(1, 1, MELS, 400, generator=torch.Generator().manual_seed(1)), torch.tensor([400])
    changed = features.clone()
    changed[..., 399] += 5.0
    assert (encoder(features, length).logits - encoder(changed, length).logits)[0, 0].abs().max() > 1e-6
    same = torch.ones(1, 1, MELS, 400)  # but for the positions every frame would be like the next
    inside = encoder(same, length).logits[0, 20:80]
    assert (inside[1:] - inside[:-1]).abs().max() > 1e-4


def test_positions_are_the_sines_and_cosines_of_the_paper():
    """Vaswani et al. 2017, section 3.5, as Whisper orders them: all sines, then all cosines."""
    found = positions(1_500, 512, torch.zeros(1))
    for frame, channel in ((0, 0), (1, 0), (7, 3), (1_499, 0), (1_499, 255), (300, 100)):
        angle = frame / 10_000 ** (channel / 255)
        assert float(found[frame, channel]) == pytest.approx(math.sin(angle), abs=2e-4)
        assert float(found[frame, 256 + channel]) == pytest.approx(math.cos(angle), abs=2e-4)


def test_the_presets_fit_what_is_shipped_in_8_bits():
    with torch.device("meta"):
        base, tiny = (build_encoder(PRESETS[name].encoder) for name in ("base", "tiny"))
    assert (base.parameter_count, tiny.parameter_count) == (25_898_053, 11_057_733)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_description_builds_the_same_architecture_again(name):
    encoder = tiny_encoder(name)
    again = build_encoder(describe_encoder(encoder))
    assert again.config == encoder.config
    shapes = {key: tensor.shape for key, tensor in encoder.state_dict().items()}
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == shapes


@pytest.mark.parametrize("description", [{"name": "whisper"}, {}, {"name": None}])
def test_an_unknown_encoder_is_refused_with_those_there_are(description):
    with pytest.raises(ValueError, match="no encoder called .*deepspeech2, attention_unet, whisper_ctc"):
        build_encoder(description)


def test_an_unknown_option_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"attention_unet encoder has no option \['layers'\]. It has: .*inner_blocks"):
        build_encoder({"name": "attention_unet", "layers": 3})


@pytest.mark.parametrize("stride", [2, 4])
def test_a_strided_length_is_that_of_the_convolution(stride):
    convolution = nn.Conv1d(1, 1, 3, stride=stride, padding=1)
    for length in range(1, 40):
        assert convolution(torch.zeros(1, 1, length)).shape[-1] == strided_length(length, stride)


def test_dropout_zeros_its_part_scales_the_rest_and_is_the_same_for_all_utterances():
    torch.manual_seed(0)
    dropout = Dropout(0.2)
    kept = dropout(torch.ones(3, 400, 50))
    assert torch.equal(kept[0], kept[1]) and torch.equal(kept[0], kept[2])
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    for part in (kept[0], kept[0, :, 7], kept[0, 11]):  # of neither a channel nor a frame more than of another
        assert float((part == 0).float().mean()) == pytest.approx(0.2, abs=3 * (0.2 * 0.8 / part.numel()) ** 0.5)
    assert not torch.equal(dropout(torch.ones(3, 400, 50)), kept)
    x = torch.randn(3, 4, 5)
    assert torch.equal(dropout.eval()(x), x)
