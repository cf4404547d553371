"""Each mistake of "Break it", made on a real clip: the Doctor names it, the right code is healthy, the loss is torch's."""

from pathlib import Path

import pytest
import torch
from synthetic import loud_sound, tiny_model
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.data.utterances import read_manifest
from asr_core.doctor.mistakes import LONGEST_S, MISTAKES, Clip, MistakeError
from asr_core.sound import Sound

EXAMPLE = read_manifest(Path(__file__).parents[2] / "examples" / "manifest.tsv")[0]
TEXT = EXAMPLE.text.replace("doesn't", "does not")
NAMED = {mistake.name: mistake for mistake in MISTAKES}
RULES = {
    "Softmax in place of log_softmax": 1,
    "Raw logits": 2,
    "Softmax over time": 3,
    "Softmax twice": 4,
    "Log of softmax": 5,
    "Blank in the target": 15,
    "T // 2 once too often": 10,
    "Lengths before subsampling": 9,
    "Target lengths of the padding": 14,
    "Target longer than its frames": 12,
    "Another blank in the loss than in the decoder": 17,
    "Wrong sample rate": 27,
    "Padding of the batch taken for sound": 26,
}


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def sound(transcriber):
    return transcriber.transcribe(EXAMPLE.path).sound


@pytest.fixture(scope="module")
def clip(transcriber, sound):
    return Clip(transcriber, sound, TEXT)


@pytest.fixture(scope="module")
def logits(transcriber, sound):
    """(T', V), straight from the encoder."""
    with torch.no_grad():
        features = torch.from_numpy(sound.features[:])  # (T, M)
        return transcriber.model.encoder(features.T[None, None], torch.tensor([len(features)])).logits[0]


def ctc(scores, targets, frames=None, blank=28):
    return float(F.ctc_loss(scores, targets, (frames or len(scores),), (len(targets),), blank=blank, reduction="sum"))


def test_the_table_below_names_every_mistake():
    assert list(RULES) == list(NAMED)


@pytest.mark.parametrize("name", RULES)
def test_the_doctor_names_the_mistake_and_finds_nothing_in_the_right_code(clip, name):
    right, broken = NAMED[name].on(clip)
    assert right.diagnosis.findings == ()
    found = {finding.rule for finding in broken.diagnosis.findings}
    assert RULES[name] in found
    assert found <= {RULES[name], 11 if RULES[name] == 26 else None}, "one cause, not its consequences"


def test_the_right_codes_loss_is_that_of_the_encoder_alone_and_in_a_batch(clip, transcriber, logits):
    target = torch.tensor(transcriber.model.alphabet.encode(TEXT))
    expected = ctc(logits.log_softmax(-1), target)
    assert clip.alone.loss == pytest.approx(expected, rel=1e-5)
    assert clip.padded.loss == pytest.approx(expected, rel=1e-4), "padding never changes a result"


def test_the_losses_are_torchs_on_tensors_made_independently(clip, transcriber, sound, logits):
    alphabet = transcriber.model.alphabet
    target = torch.tensor(alphabet.encode(TEXT))
    probabilities = logits.softmax(-1)
    spaceless = torch.tensor([28 if letter == " " else alphabet.encode(letter)[0] for letter in TEXT])
    expected = {
        "Softmax in place of log_softmax": ctc(probabilities, target),
        "Raw logits": ctc(logits, target),
        "Softmax over time": ctc(logits - logits.logsumexp(0, keepdim=True), target),
        "Softmax twice": ctc(probabilities - probabilities.logsumexp(1, keepdim=True), target),
        "Log of softmax": ctc(probabilities.log(), target),
        "Blank in the target": ctc(logits.log_softmax(-1), spaceless),
        "T // 2 once too often": ctc(logits.log_softmax(-1), target, frames=len(logits) // 2),
        "Another blank in the loss than in the decoder": ctc(logits.log_softmax(-1), target, blank=0),
    }
    for name, loss in expected.items():
        assert NAMED[name].make(clip).loss == pytest.approx(loss, rel=1e-4), name
    assert expected["Softmax in place of log_softmax"] < 0 and expected["Raw logits"] < 0


def test_lengths_beyond_the_frames_are_refused_by_torch_itself(clip):
    broken = NAMED["Lengths before subsampling"].make(clip)
    with pytest.raises(RuntimeError, match=f"at most {len(clip.alone.logits)}, but got value {len(clip.sound.features)}"):
        _ = broken.loss
    assert broken.aligned is None


def test_a_text_too_long_has_an_infinite_loss_and_no_path(clip, transcriber, sound):
    for text in (TEXT, "a"):
        broken = NAMED["Target longer than its frames"].make(Clip(transcriber, sound, text))
        assert broken.loss == float("inf") and broken.aligned is None


def test_padding_counted_as_text_is_the_loss_of_the_padded_target(clip, logits):
    target = torch.cat([clip.target, torch.full((len(clip.target),), 28)])
    assert NAMED["Target lengths of the padding"].make(clip).loss == ctc(logits.log_softmax(-1), target)


def test_at_the_microphones_rate_the_model_hears_three_times_as_many_frames(clip):
    broken = NAMED["Wrong sample rate"].make(clip)
    assert len(broken.logits) == pytest.approx(3 * len(clip.alone.logits), abs=3)
    assert len(broken.emission) * broken.frame_s == pytest.approx(clip.sound.duration_s, abs=0.05), "drawn over the clip"
    assert broken.loss > 1.5 * clip.alone.loss


def test_unmasked_padding_is_read_and_changes_what_comes_before_it(clip, transcriber):
    broken = NAMED["Padding of the batch taken for sound"].make(clip)
    clips = [torch.from_numpy(clip.sound.features), torch.zeros(2 * len(clip.sound.features) - 1, 80)]
    features = pad_sequence(clips, batch_first=True)
    alone = features[:1].transpose(1, 2)[:, None]  # (1, 1, M, T): the padding is zeros, and nobody says where it begins
    with torch.no_grad():
        expected = transcriber.model.encoder(alone, torch.tensor([alone.shape[-1]])).logits[0]
    assert len(broken.emission) == len(expected) > 1.9 * len(clip.alone.logits)
    assert broken.loss == pytest.approx(ctc(expected.log_softmax(-1), clip.target), rel=1e-3)


def brute_force_best(scores, target, blank):
    """The greatest sum of scores over all paths that emit `target`, where a label may be the blank itself (dynamic
    programme over labels with a gap before, between and after, written without the library)."""
    labels = [None]
    for token in target:
        labels += [token, None]
    best = [float("-inf")] * len(labels)
    best[0], best[1] = float(scores[0][blank]), float(scores[0][target[0]])
    for frame in scores[1:]:
        new = []
        for s, label in enumerate(labels):
            before = [best[s]] + ([best[s - 1]] if s else [])
            if s > 1 and label is not None and labels[s - 2] != label:
                before.append(best[s - 2])
            new.append(max(before) + float(frame[blank if label is None else label]))
        best = new
    return max(best[-2:])


@pytest.mark.parametrize(
    "name", ["Softmax over time", "Blank in the target", "Another blank in the loss than in the decoder", "Raw logits"]
)
def test_the_alignment_is_the_path_that_costs_the_broken_loss_least(clip, name):
    broken = NAMED[name].make(clip)
    scores = broken.log_probs.detach()[:, 0]
    path = torch.tensor(broken.aligned.path)
    along = float(scores.gather(1, path[:, None]).sum())
    assert along == pytest.approx(brute_force_best(scores.tolist(), broken.target.tolist(), broken.blank), rel=1e-5)


def test_a_blank_in_the_target_is_never_written(clip):
    assert clip.alone.aligned.text == TEXT
    assert NAMED["Blank in the target"].make(clip).aligned.text == TEXT.replace(" ", "")


def test_the_default_blank_may_be_a_letter_of_the_text(transcriber, sound):
    broken = NAMED["Another blank in the loss than in the decoder"].make(Clip(transcriber, sound, EXAMPLE.text))
    (found,) = broken.diagnosis.findings
    assert '1 of 43 labels are token 0, the blank, which the labels call "\'"' in found.evidence


def test_what_cannot_be_broken_is_told_in_a_sentence(transcriber, sound):
    with pytest.raises(MistakeError, match="no text to train on"):
        Clip(transcriber, sound, "")
    with pytest.raises(MistakeError, match="has no space"):
        NAMED["Blank in the target"].on(Clip(transcriber, sound, "hope"))
    with pytest.raises(MistakeError, match="made with the sound, and this reading came without it"):
        Clip(transcriber, Sound.unheard(2.0), "hope")
    long = Transcriber(tiny_model())
    with pytest.raises(MistakeError, match="61 s long; mistakes are made on 60 s"):
        Clip(long, loud_sound(LONGEST_S + 1), "a")


def test_a_text_in_another_models_case_is_written_in_this_ones(transcriber, sound):
    assert torch.equal(Clip(transcriber, sound, TEXT.upper()).target, Clip(transcriber, sound, TEXT).target)
