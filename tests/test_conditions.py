"""What becomes of an utterance in each condition, measured on its samples."""

import json

import numpy as np
import pytest
import torch
from synthetic import MELS, RATE, speech_like, tiny_encoder, tone, toy_corpus, write_manifest

from asr_core.conditions import CONDITIONS, heard_in
from asr_core.data.batches import SpeechDataset, evaluation_batches
from asr_core.features import FeatureConfig, LogMel
from asr_core.text import Alphabet

SPEECH = torch.from_numpy(speech_like(2.0))
SECONDS = {
    "silence-10": (10, 0, 10), "zeros-before-20": (20, 0, 0), "zeros-inside-20": (0, 20, 0), "zeros-after-20": (0, 0, 20),
    "room-tone-20": (20, 0, 10),
}  # fmt: skip


def in_condition(name: str, waveform: torch.Tensor = SPEECH, utterance: str = "one") -> torch.Tensor:
    return heard_in(name, waveform, RATE, utterance)


def db(waveform: torch.Tensor) -> float:
    """Of full scale."""
    return 10 * float(waveform.double().square().mean().log10())


def band_db(waveform: torch.Tensor, low_hz: float, high_hz: float) -> float:
    power = torch.fft.rfft(waveform).abs().square()
    hz = torch.linspace(0, RATE / 2, len(power))
    return 10 * float(power[(hz >= low_hz) & (hz < high_hz)].mean().log10())


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_adds_the_seconds_that_it_says_and_stays_finite(name):
    for waveform in (SPEECH, SPEECH[:1_601], torch.zeros(1_600), torch.ones(1_600)):  # a tenth of a second is the least
        changed = in_condition(name, waveform)
        assert len(changed) == len(waveform) + CONDITIONS[name].added_s * RATE
        assert changed.dtype == torch.float32 and changed.isfinite().all()
    assert not torch.equal(in_condition(name), SPEECH)


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_utterance_always_sounds_the_same_and_leaves_torchs_random_state_alone(name):
    state = torch.get_rng_state()
    first = in_condition(name)
    torch.manual_seed(7)
    assert torch.equal(in_condition(name), first)
    torch.set_rng_state(state)
    in_condition(name)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["noise-10", "noise-0", "room"])
def test_another_utterance_has_other_noise(name):
    assert len({in_condition(name, utterance=str(number)).numpy().tobytes() for number in range(8)}) == 8


@pytest.mark.parametrize("softer_db", [20, 40])
def test_quiet_speech_is_softer_by_its_decibels_and_else_the_same(softer_db):
    quiet = in_condition(f"quiet-{softer_db}")
    assert db(SPEECH) - db(quiet) == pytest.approx(softer_db, abs=1e-3)
    assert torch.allclose(quiet * 10 ** (softer_db / 20), SPEECH, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("snr_db", [10, 0])
def test_noise_is_white_and_softer_than_the_speech_by_its_decibels(snr_db):
    noise = in_condition(f"noise-{snr_db}") - SPEECH
    assert db(SPEECH) - db(noise) == pytest.approx(snr_db, abs=0.02)
    levels = [band_db(noise, low, 2 * low) for low in (250, 500, 1_000, 2_000, 4_000)]
    assert max(levels) - min(levels) < 1


def test_in_the_room_the_echo_of_a_click_falls_by_sixty_decibels_in_half_a_second():
    click = torch.zeros(RATE)
    click[0] = 1.0
    echo = in_condition("room", click)[1:].double().numpy()
    decay_db = 10 * np.log10(np.cumsum(echo[::-1] ** 2)[::-1] / np.sum(echo**2) + 1e-12)  # Schroeder's backward integral
    at_s = [int(np.argmax(decay_db < level)) / RATE for level in (-5, -25)]
    assert 3 * (at_s[1] - at_s[0]) == pytest.approx(0.5, rel=0.15)
    assert db(in_condition("room")) == pytest.approx(db(SPEECH), abs=0.01)


def test_the_telephone_takes_300_to_3400_hz_and_nothing_else():
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(4 * RATE)
    heard = in_condition("telephone", noise)
    for low, high in ((350, 1_000), (1_000, 2_000), (2_000, 3_350)):
        assert band_db(heard, low, high) == pytest.approx(band_db(noise, low, high), abs=0.5)
    for low, high in ((20, 250), (4_200, 8_000)):
        assert band_db(heard, low, high) < band_db(noise, low, high) - 30


@pytest.mark.parametrize("softer_db", [0, 20, 40])
def test_the_telephones_eight_bits_leave_a_tone_35_decibels_over_its_noise_at_any_level(softer_db):
    """mu-law's promise: 16 bits to the sample would leave 98 at full scale, 8 even ones 50, and 10 for the quietest."""
    clip = torch.from_numpy(tone(2.0, 1_004.0, peak=0.9)) * 10 ** (-softer_db / 20)
    heard = in_condition("telephone", clip)[RATE // 2 : -RATE // 2]
    times = torch.arange(len(heard), dtype=torch.float64) / RATE
    parts = torch.stack([torch.sin(2 * torch.pi * 1_004 * times), torch.cos(2 * torch.pi * 1_004 * times)], 1)
    pure = parts @ torch.linalg.lstsq(parts, heard.double()[:, None]).solution
    assert 30 < db(pure) - db(heard.double() - pure[:, 0]) < 45


@pytest.mark.parametrize("name", [name for name in SECONDS if name != "room-tone-20"])
def test_silence_is_of_zeros_and_leaves_the_speech_as_it_was(name):
    before, inside, after = (seconds * RATE for seconds in SECONDS[name])
    loud = SPEECH + 0.1 * (SPEECH == 0)  # without a zero of its own
    heard = in_condition(name, loud)
    assert (heard[:before] == 0).all() and (heard[len(heard) - after :] == 0).all()
    assert torch.equal(heard[heard != 0], loud)
    if inside:
        silent = (heard == 0).nonzero()[:, 0]
        assert len(silent) == inside == int(silent[-1] - silent[0]) + 1
        assert len(loud) // 5 <= silent[0] <= 4 * len(loud) // 5


def test_room_tone_is_as_loud_as_the_quietest_quarter_second_and_around_the_speech():
    before, _, after = (seconds * RATE for seconds in SECONDS["room-tone-20"])
    quietest = min(db(SPEECH[start : start + RATE // 4]) for start in range(0, len(SPEECH) - RATE // 4, 10))
    for utterance in map(str, range(6)):  # some to and fro, some as noise of its spectrum
        heard = in_condition("room-tone-20", utterance=utterance)
        assert torch.equal(heard[before:-after], SPEECH)
        for stretch in (heard[:before], heard[-after:]):
            assert db(stretch) == pytest.approx(quietest, abs=0.5)
            assert all(db(second) > quietest - 10 for second in stretch.split(RATE))


def test_an_utterance_sounds_the_same_in_any_part_of_a_corpus_and_lasts_as_long_as_it_is_heard(tmp_path):
    corpus = toy_corpus(tmp_path, 3)
    given = LogMel(FeatureConfig(n_mels=MELS)), Alphabet(), tiny_encoder("attention_unet").output_lengths
    whole = SpeechDataset(corpus, *given, condition="room-tone-20")
    alone = SpeechDataset(corpus[2:], *given, condition="room-tone-20")
    assert torch.equal(whole[2].views[0], alone[0].views[0])
    assert whole.durations_s() == [each.duration_s + 30 for each in corpus]
    assert whole[2].utterance.duration_s * 100 == pytest.approx(len(whole[2].views[0]), abs=2)
    (batch, *more) = evaluation_batches(corpus, *given, workers=0, condition="zeros-after-20")
    assert not more and batch.features.shape[3] >= 2_000
    batches = list(evaluation_batches(corpus * 3, *given, workers=0, condition="room-tone-20"))
    assert [len(batch.utterances) for batch in batches] == [3, 3, 3]  # of 100 s, silence included


def test_evaluate_measures_in_a_condition_and_names_it(run, checkpoint_folder, tmp_path):
    manifest = write_manifest(tmp_path / "m.tsv", [(utterance, "test") for utterance in toy_corpus(tmp_path, 3)])
    arguments = ["evaluate", manifest, "--checkpoint", checkpoint_folder]
    plain, noisy, again = (
        json.loads(run(*arguments, "--format", "json", *more)[1])
        for more in ([], ["--condition", "noise-0"], ["--condition", "noise-0"])
    )
    assert (plain["condition"], noisy["condition"]) == (None, "noise-0")
    assert plain["loss"] != noisy["loss"] == again["loss"]
    longer = json.loads(run(*arguments, "--format", "json", "--condition", "silence-10")[1])
    assert longer["audio_s"] == pytest.approx(plain["audio_s"] + 60)
    assert CONDITIONS["room"].phrase in run(*arguments, "--condition", "room")[1]


def test_help_lists_every_condition_with_its_phrase(run):
    code, out, _ = run("evaluate", "--help")
    assert code == 0
    for name, condition in CONDITIONS.items():
        assert f"  {name:<17}{condition.phrase}\n" in out
