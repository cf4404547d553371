"""The forced path against every path there is; the span conventions on any recording; warnings, each for its reason."""

from itertools import groupby, pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asr_core.alignment import CONVENTIONS, MAX_REACH_S, AlignmentError, Span, forced_path, implausible, token_spans
from asr_core.emission import Emission
from asr_core.features import FeatureConfig, LogMel
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription

RATE = 16_000  # Hz
ALPHABET = Alphabet()
ROUNDING_S = 1e-9


def emission_of(frames: int, alphabet: Alphabet, seed: int, frame_s: float = 0.04, sharpness: float = 2.0) -> Emission:
    draw = np.random.default_rng(seed)
    logits = torch.from_numpy(sharpness * draw.standard_normal((frames, len(alphabet)))).float()
    return Emission(logits.log_softmax(-1), frame_s, alphabet)


def spelled(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(token for token, _ in groupby(path) if token != blank)


def cost(emission: Emission, path: tuple[int, ...]) -> float:
    return -sum(emission.log_probs[frame, token].item() for frame, token in enumerate(path))


def sound_of(loudness: np.ndarray, duration_s: float) -> Sound:
    """A recording whose feature frames are as loud as that, 10 ms each."""
    features = np.repeat(loudness[:, None], 80, 1).astype(np.float32)
    return Sound(np.zeros(round(duration_s * RATE), np.float32), RATE, features, 0.01)


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(0, 2), st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 10_000))
def test_the_forced_path_is_the_cheapest_of_all_that_spell_the_text_or_there_is_none(frames, blank, text, seed):
    alphabet = Alphabet(tuple("ab_"[(index - blank - 1) % 3] for index in range(3)), blank)
    emission = emission_of(frames, alphabet, seed)
    tokens = alphabet.encode("".join("ab"[letter] for letter in text))
    costs = [cost(emission, path) for path in product(range(3), repeat=frames) if spelled(path, blank) == tuple(tokens)]
    if not costs:
        needed = next(n for n in range(9) if any(spelled(p, blank) == tuple(tokens) for p in product(range(3), repeat=n)))
        with pytest.raises(
            AlignmentError, match=rf"its {len(tokens)} tokens need at least {needed} frames.*there are {frames} "
        ):
            forced_path(emission, tokens)
        return
    path = forced_path(emission, tokens)
    assert spelled(path, blank) == tuple(tokens)
    assert cost(emission, path) == pytest.approx(min(costs), rel=1e-5)


@given(st.integers(1, 80), st.integers(0, 10_000))
def test_the_path_forced_to_the_models_own_reading_is_its_own_path(frames, seed):
    emission = emission_of(frames, ALPHABET, seed)
    best = tuple(emission.log_probs.argmax(-1).tolist())
    tokens = spelled(best, ALPHABET.blank)
    assume(tokens)
    assert forced_path(emission, tokens) == best


@pytest.mark.parametrize(
    ("text", "frames", "numbers"),
    [
        ("hello", 5, r"its 5 letters and spaces need at least 6 frames \(0.2 s\), and there are 5 \(0.2 s\)"),
        ("a" * 26, 50, r"its 26 letters and spaces need at least 51 frames \(2.0 s\), and there are 50 \(2.0 s\)"),
        ("too long " * 9 + "by far", 10, r"its 87 letters and spaces need at least 96 frames \(3.8 s\), and there are 10"),
    ],
)
def test_a_text_too_long_is_refused_with_both_numbers(text, frames, numbers):
    with pytest.raises(AlignmentError, match=numbers):
        forced_path(emission_of(frames, ALPHABET, 0), ALPHABET.encode(text))


def test_a_text_that_just_fits_is_aligned():
    assert forced_path(emission_of(6, ALPHABET, 0), ALPHABET.encode("hello")) == (9, 6, 13, 28, 13, 16)


def test_nothing_to_align_is_refused():
    with pytest.raises(AlignmentError, match="nothing to align"):
        forced_path(emission_of(5, ALPHABET, 0), [])


@st.composite
def recordings(draw):
    """A path, a frame's seconds, and a sound that may end before the last frame or after it and be loud anywhere."""
    runs = draw(
        st.lists(st.tuples(st.sampled_from([28, 1, 2, 3]), st.sampled_from([1, 1, 2, 5, 30])), min_size=1, max_size=25)
    )
    path = tuple(token for token, frames in runs for _ in range(frames))
    frame_s = draw(st.sampled_from([0.02, 0.04]))
    duration_s = len(path) * frame_s * draw(st.sampled_from([1, 1, 0.6, 1.2])) + draw(st.sampled_from([0, 0.0173]))
    noise = np.random.default_rng(draw(st.integers(0, 999))).random(int(duration_s * 100) + 1)
    loudness = np.repeat(noise[::20], 20)[: len(noise)] if draw(st.booleans()) else noise  # in stretches, or frame by frame
    return path, emission_of(len(path), ALPHABET, len(path), frame_s), sound_of(loudness, duration_s)


@given(recordings())
def test_energy_lies_between_the_spike_and_the_boundary_and_no_two_spans_overlap(recording):
    path, emission, sound = recording
    readings = {name: Transcription.of_path(path, emission, sound, name) for name in CONVENTIONS}
    for spans in ("tokens", "words"):
        spike, energy, boundary = (getattr(readings[name], spans) for name in ("spike", "energy", "boundary"))
        for narrow, middle, wide in zip(spike, energy, boundary, strict=True):
            assert wide.start_s <= middle.start_s + ROUNDING_S
            assert middle.start_s <= narrow.start_s + ROUNDING_S
            assert narrow.end_s <= middle.end_s + ROUNDING_S
            assert middle.end_s <= wide.end_s + ROUNDING_S
            assert narrow.start_s - wide.start_s <= 0.25 + ROUNDING_S
            assert wide.end_s - narrow.end_s <= 0.25 + ROUNDING_S
            for other in (middle, wide):  # a convention moves times and nothing else
                assert (other.label, other.first, other.last, other.score) == (
                    narrow.label, narrow.first, narrow.last, narrow.score,
                )  # fmt: skip
        for reading in (spike, energy, boundary):
            assert all(0 <= span.start_s <= span.end_s <= sound.duration_s + ROUNDING_S for span in reading)
            assert all(one.end_s <= other.start_s + ROUNDING_S for one, other in pairwise(reading))


@given(recordings())
def test_the_boundary_is_the_middle_of_the_gap_or_a_quarter_second_away(recording):
    path, emission, sound = recording
    spikes = token_spans(emission, path, sound, "spike")
    wide = token_spans(emission, path, sound, "boundary")
    ends = [0.0, *(span.end_s for span in spikes)]
    starts = [*(span.start_s for span in spikes), sound.duration_s]
    for index, (spike, boundary) in enumerate(zip(spikes, wide, strict=True)):
        gap_before, gap_after = spike.start_s - ends[index], starts[index + 1] - spike.end_s
        shared_before, shared_after = index > 0, index + 1 < len(spikes)
        assert spike.start_s - boundary.start_s == pytest.approx(min(MAX_REACH_S, gap_before / (1 + shared_before)))
        assert boundary.end_s - spike.end_s == pytest.approx(min(MAX_REACH_S, gap_after / (1 + shared_after)))


@given(recordings())
def test_energy_widens_over_no_quiet_frame_and_stops_at_none_that_is_loud(recording):
    path, emission, sound = recording
    narrow, middle, wide = (token_spans(emission, path, sound, name) for name in ("spike", "energy", "boundary"))
    loud = sound.loudness >= 1 / 3

    def frame(seconds: float) -> int:
        return round(seconds / 0.01)

    for spike, energy, boundary in zip(narrow, middle, wide, strict=True):
        assert loud[frame(spike.end_s) : frame(energy.end_s)].all()
        assert loud[frame(energy.start_s) : frame(spike.start_s)].all()
        if energy.end_s < boundary.end_s - 0.01:
            assert not loud[frame(energy.end_s)]
        if energy.start_s > boundary.start_s + 0.01:
            assert not loud[frame(energy.start_s) - 1]


@given(recordings(), st.sampled_from(sorted(CONVENTIONS)), st.sampled_from(sorted(CONVENTIONS)))
def test_changing_the_convention_twice_is_changing_it_once(recording, first, second):
    path, emission, sound = recording
    direct = Transcription.of_path(path, emission, sound, second)
    by_detour = Transcription.of_path(path, emission, sound, first).with_convention(second)
    assert (by_detour.convention, by_detour.words, by_detour.tokens) == (second, direct.words, direct.tokens)
    assert by_detour.text == direct.text


def test_energy_finds_a_tone_between_silences_and_stays_out_of_the_silence():
    draw = np.random.default_rng(0)
    samples = (0.001 * draw.standard_normal(2 * RATE)).astype(np.float32)
    times = np.arange(round(0.3 * RATE)) / RATE
    samples[round(0.7 * RATE) : round(1.0 * RATE)] += sum(
        0.1 * np.sin(2 * np.pi * pitch * times) for pitch in range(100, 6_000, 100)
    )
    features = LogMel(FeatureConfig())(torch.from_numpy(samples)).numpy()
    sound = Sound(samples, RATE, features, 0.01)

    def times_of(spike_frame: int, convention: str) -> tuple[float, float]:
        path = [28] * 50
        path[spike_frame] = 2
        (token,) = token_spans(emission_of(50, ALPHABET, 0), path, sound, convention)
        return token.start_s, token.end_s

    assert times_of(21, "spike") == pytest.approx((0.84, 0.88))
    assert times_of(21, "boundary") == pytest.approx((0.59, 1.13))
    assert times_of(21, "energy") == pytest.approx((0.7, 1.0), abs=0.03)  # a feature window is 25 ms
    assert times_of(40, "energy") == times_of(40, "spike") == pytest.approx((1.6, 1.64))


def test_an_unknown_convention_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no span convention 'middle'. There are: spike, boundary, energy"):
        token_spans(emission_of(3, ALPHABET, 0), (2, 28, 3), sound_of(np.ones(13), 0.12), "middle")


def word(label: str, start_s: float, end_s: float) -> Span:
    return Span(label, 0, 0, start_s, end_s, 1.0)


def loud_then_quiet() -> Sound:
    """Loud for 4 s, as quiet as the recording gets for 2 s, then loud again for 1 s."""
    loudness = np.ones(701)
    loudness[400:600] = 0
    return sound_of(loudness, 7.0)


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (word("hello", 0.5, 0.9), None),
        (word("i", 0.5, 0.54), None),  # 25 letters a second
        (word("stretched", 0.0, 3.0), None),
        (word("stretched", 0.0, 3.3), "“stretched” lasts 3.3 s; a spoken word hardly lasts 3 s."),
        (word("thirty", 0.0, 0.2), None),  # exactly 30 letters a second
        (word("hurried", 1.0, 1.2), "“hurried” is 35 letters a second; nobody speaks over 30."),
        (word("ghost", 4.5, 5.0), "“ghost” lies where the recording is silent."),
        (word("edge", 3.9, 4.5), None),  # begins in the loud part
        (word("a", 5.0, 5.0), "“a” lies where the recording is silent."),  # no length, and no division by it
        (word("end", 7.0, 7.0), None),
    ],
)
def test_a_word_is_doubted_for_one_stated_reason_or_for_none(span, reason):
    words = [word("before", 0.1, 0.4), span, word("after", 6.2, 6.6)]
    assert implausible(words, loud_then_quiet()) == ({1: reason} if reason else {})


def test_every_doubted_word_is_named_by_its_index():
    words = [word("ghost", 4.5, 5.0), word("fine", 0.2, 0.6), word("slow", 0.0, 3.9), word("veryfast", 1.0, 1.1)]
    assert list(implausible(words, loud_then_quiet())) == [0, 2, 3]
    assert implausible([], loud_then_quiet()) == {}


@pytest.mark.parametrize("frame_s", [0.04, 0.02])  # attention_unet's and deepspeech2's
@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_a_letter_that_spikes_in_one_frame_is_no_fast_speech(frame_s, convention):
    pause = round(0.2 / frame_s)
    path = (28,) * pause + (2,) + (28,) * pause + (1,) + (28,) * pause + (10, 28, 20) + (28,) * pause  # "a is", at ease
    sound = sound_of(np.tile([0.5, 1.0], 100), len(path) * frame_s)
    transcription = Transcription.of_path(path, emission_of(len(path), ALPHABET, 0, frame_s), sound, convention)
    assert transcription.text == "a is"
    assert transcription.warnings == {}


def test_a_token_that_begins_with_a_space_begins_a_word():
    alphabet = Alphabet((" he", "llo", " w", "orld", " ", "_"), 5)
    path = (0, 0, 5, 1, 2, 3, 3, 5, 4, 5, 0, 4)
    transcription = Transcription.of_path(path, emission_of(len(path), alphabet, 0), sound_of(np.ones(49), 0.48))
    assert [(word.label, word.first, word.last) for word in transcription.words] == [
        ("hello", 0, 3), ("world", 4, 6), ("he", 10, 10),
    ]  # fmt: skip
    assert transcription.text == "hello world he"
    assert [token.label for token in transcription.tokens] == [" he", "llo", " w", "orld", " ", " he", " "]
