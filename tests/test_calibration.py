"""Confidences: a map that is known is found again, errors against sums by hand, and the way of a word's confidence."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readings import FRAME_S, reading, readings, sound_of
from synthetic import speech_like, tiny_model, toy_corpus, write_manifest

from asr_core import checkpoint
from asr_core.alignment import CONFIDENCE, CONVENTIONS
from asr_core.calibration import LEAST, RIDGE, Calibration, calibration_error, evidence_of, fit
from asr_core.commands import language_model
from asr_core.decoding import DECODERS, greedy_path
from asr_core.emission import Emission
from asr_core.kneser_ney import estimate
from asr_core.reference import align
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription

ALPHABET = Alphabet()
TRUE = Calibration(offset=-1.0, score=0.6, agreed=1.2, known=1.5)
OTHER = Calibration(offset=0.3, score=0.5, agreed=-0.7, known=0.9)


def made_up(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Evidence (N, 3), and words that are right as often as TRUE says."""
    draw = np.random.default_rng(seed)
    evidence = np.stack([draw.normal(1.5, 2.0, count), draw.random(count) < 0.7, draw.random(count) < 0.9], axis=1)
    return evidence, draw.random(count) < TRUE.confidences(evidence)


def emission_along(path: list[str], seed: int = 0) -> Emission:
    """Frames whose best tokens are these letters; an underscore is a blank."""
    tokens = torch.tensor([ALPHABET.blank if letter == "_" else ALPHABET.encode(letter)[0] for letter in path])
    logits = torch.randn(len(path), len(ALPHABET), generator=torch.Generator().manual_seed(seed))
    return Emission((logits + 9 * torch.nn.functional.one_hot(tokens, len(ALPHABET))).log_softmax(-1), FRAME_S, ALPHABET)


def test_a_known_map_is_found_again_in_words_that_follow_it():
    evidence, right = made_up(40_000)
    assert list(asdict(fit(evidence, right)).values()) == pytest.approx(list(asdict(TRUE).values()), abs=0.1)


def test_no_other_numbers_make_the_words_more_probable():
    evidence, right = made_up(300)

    def cost(numbers: np.ndarray) -> float:
        p = Calibration(*numbers.tolist()).confidences(evidence)
        return float(-np.log(np.where(right, p, 1 - p)).sum() + RIDGE / 2 * (numbers**2).sum())

    best = np.array(list(asdict(fit(evidence, right)).values()))
    steps = np.random.default_rng(1).normal(0, 0.05, (500, 4))
    assert all(cost(best + step) > cost(best) for step in steps)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_there_is_a_calibration_where_all_words_are_right_or_the_score_tells_all_or_there_are_none(part):
    evidence, _ = made_up(5_000)
    right = evidence[:, 0] >= np.quantile(evidence[:, 0], 1 - part) if part < 1 else np.ones(len(evidence), bool)
    right = right if part else np.zeros(len(evidence), bool)
    confidences = fit(evidence, right).confidences(evidence)
    assert np.abs(confidences - right).mean() < 0.02
    assert fit(evidence[:0], right[:0]) == Calibration()


def test_what_is_the_same_for_all_words_gets_no_number():
    evidence, right = made_up(2_000)
    evidence[:, 1:] = 1.0
    found = fit(evidence, right)
    assert (found.agreed, found.known) == (0, 0) and found.score > 0.3


def test_the_error_of_twenty_words_by_hand():
    told = np.array([0.05 * n for n in range(20)])  # 0, 0.05, ... 0.95: two to a bin, whose means are 0.025, 0.125 ...
    right = np.array([0, 0, 1, 0] + [0, 1] * 8, bool)  # of the ten bins the first has none, the others one of two
    expected = (0.025 + sum(abs(0.025 + 0.1 * bin - 0.5) for bin in range(1, 10))) / 10
    assert calibration_error(told, right) == pytest.approx(expected)
    shuffled = np.random.default_rng(0).permutation(20)
    assert calibration_error(told[shuffled], right[shuffled]) == pytest.approx(expected)


def test_the_error_is_that_of_one_who_is_always_sure_or_never_wrong():
    right = np.array([True] * 70 + [False] * 30)
    assert calibration_error(np.ones(100), np.random.default_rng(0).permutation(right)) == pytest.approx(0.3)
    assert calibration_error(right.astype(float), right) == 0
    assert calibration_error(np.array([0.4]), np.array([True])) == pytest.approx(0.6)


def test_calibrated_confidences_err_less_than_scores_on_words_that_were_not_fitted():
    (evidence, right), (others, others_right) = made_up(3_000, 1), made_up(3_000, 2)
    scores = 1 / (1 + np.exp(-others[:, 0]))
    assert calibration_error(scores, others_right) > 0.08
    assert calibration_error(fit(evidence, right).confidences(others), others_right) < 0.03


@given(st.floats(0, 1))
def test_as_it_stands_a_calibration_leaves_the_score_as_it_is(score):
    within = min(max(score, LEAST), 1 - LEAST)
    (confidence,) = Calibration().confidences(np.array([[np.log(within / (1 - within)), 1, 0]]))
    assert confidence == pytest.approx(score, abs=1.01 * LEAST)


@pytest.mark.parametrize("numbers", [{"offset": 101}, {"score": "1"}, {"agreed": float("nan")}, {"known": True}])
def test_numbers_that_mean_nothing_are_refused(numbers):
    with pytest.raises(ValueError, match=f"{next(iter(numbers))} is .*it must be a number from -100 to 100"):
        Calibration(**numbers)


def test_evidence_is_the_scores_odds_and_whether_the_letters_agree_and_the_word_is_known():
    heard = emission_along(list("_ccat__  s_add__ m_a_t_"))
    path = [ALPHABET.blank if letter == "_" else ALPHABET.encode(letter)[0] for letter in "_ccat__  s_att__ m_a_t_"]
    mended = Transcription.of_path(tuple(path), heard, sound_of(len(path) * FRAME_S))
    assert mended.text == "cat sat mat"
    evidence = evidence_of(mended, {"cat", "sat"})
    assert evidence[:, 1:].tolist() == [[1, 1], [0, 1], [1, 0]]
    assert (1 / (1 + np.exp(-evidence[:, 0]))).tolist() == pytest.approx([word.score for word in mended.words], abs=LEAST)
    assert evidence_of(mended, None)[:, 2].tolist() == [1, 1, 1]
    assert evidence_of(reading([(ALPHABET.blank, 5)]), None).shape == (0, 3)


@given(st.integers(0, 10_000), st.integers(1, 80))
def test_the_letters_alone_agree_with_themselves(seed, frames):
    logits = torch.randn(frames, len(ALPHABET), generator=torch.Generator().manual_seed(seed))
    logits[:, [1, ALPHABET.blank]] += 1.5
    emission = Emission(logits.log_softmax(-1), FRAME_S, ALPHABET)
    heard = Transcription.of_path(greedy_path(emission), emission, sound_of(frames * FRAME_S))
    assert evidence_of(heard, None)[:, 1].all()


@settings(max_examples=40)
@given(readings(), st.sampled_from(sorted(CONVENTIONS)), st.data())
def test_confidences_stay_with_their_words_by_any_convention_and_in_any_part(heard, convention, data):
    heard = replace(heard, sound=sound_of(len(heard.path) * FRAME_S))
    assert [word.confidence for word in heard.words] == [word.score for word in heard.words]
    assert all(token.confidence is None for token in heard.tokens)
    told = heard.with_confidences([0.001 * index for index in range(len(heard.words))])
    assert [word.score for word in told.words] == [word.score for word in heard.words]
    moved = told.with_convention(convention)
    assert [word.confidence for word in moved.words] == [word.confidence for word in told.words]
    if not told.words:
        return
    first, last = sorted(data.draw(st.integers(0, len(told.words) - 1)) for _ in range(2))
    part = told.between(told.words[first].first * FRAME_S, (told.words[last].last + 1) * FRAME_S)
    assert [word.label for word in part.words] == [word.label for word in told.words[first : last + 1]]
    assert [word.confidence for word in part.words] == [0.001 * index for index in range(first, last + 1)]


def test_json_has_the_confidence_of_each_word_beside_its_score_and_says_what_it_is():
    heard = reading([(2, 2), (3, 1), (1, 1), (4, 2)]).with_confidences([0.25, 0.75])
    written = heard.as_dict()
    assert [word["confidence"] for word in written["words"]] == [0.25, 0.75]
    assert [word["score"] for word in written["words"]] == pytest.approx([word.score for word in heard.words], abs=1e-4)
    assert all("confidence" not in token for token in written["tokens"])
    assert written["confidence"] == CONFIDENCE


@pytest.fixture(scope="module")
def model() -> checkpoint.Checkpoint:
    """Untrained, made to speak in words ("fjfj j j"), with a few known ones and a calibration for each decoder."""
    model = tiny_model()
    head, space, often = model.encoder.head, ALPHABET.space, ALPHABET.encode("c")[0]
    with torch.no_grad():
        head.weight *= 8
        head.bias[ALPHABET.blank] -= 1
        head.weight[[space, often]], head.bias[[space, often]] = head.weight[[often, space]], head.bias[[often, space]]
    words = estimate(["a j c", "ab j"], 9, 99, 99)
    return replace(model, language_model=words, calibration={"greedy": TRUE, "beam": OTHER})


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_transcriber_gives_each_word_the_confidence_that_its_decoder_deserves(model, decoder):
    clip = (16_000, speech_like(3.0))
    plain = Transcriber(replace(model, calibration={})).transcribe(clip, decoder)
    told = Transcriber(model).transcribe(clip, decoder)
    assert len(plain.words) > 2 and [word.confidence for word in plain.words] == [word.score for word in plain.words]
    assert [replace(word, confidence=word.score) for word in told.words] == list(plain.words)
    expected = model.calibration[decoder].confidences(evidence_of(plain, model.language_model.id_of))
    assert [word.confidence for word in told.words] == pytest.approx(expected.tolist())
    sentence = align(told, "a b").aligned  # what somebody typed is no guess of the model's
    assert [word.confidence for word in sentence.words] == [word.score for word in sentence.words]


def test_captions_end_with_the_confidences_of_the_whole(model):
    transcriber, stream = Transcriber(model), Transcriber(model).stream("greedy")
    stream.feed(speech_like(3.0), 16_000)
    for heard in (stream.recent(2.0), stream.finish()):
        again = transcriber.reading(heard.path, heard.emission, heard.sound, "greedy")
        assert again.words == heard.words
        assert any(abs(word.confidence - word.score) > 0.01 for word in heard.words)


def test_what_another_model_heard_is_not_calibrated(model):
    transcriber = Transcriber(model)
    own = transcriber.transcribe((16_000, speech_like(3.0)), "greedy")
    labels = (*ALPHABET.labels[:27], "ü", ALPHABET.labels[28])
    others = [replace(own.emission, phones=None), replace(own.emission, alphabet=Alphabet(labels, 28))]
    for emission in others:
        words = transcriber.read(emission, own.sound, "greedy").words
        assert [word.confidence for word in words] == [word.score for word in words]


def test_a_checkpoint_keeps_its_calibration_and_one_from_before_has_none(model, tmp_path):
    model.save(tmp_path / "new")
    assert checkpoint.load(tmp_path / "new").calibration == model.calibration
    replace(checkpoint.load(tmp_path / "new"), calibration={}).save_config(tmp_path / "new")
    assert "calibration" not in json.loads((tmp_path / "new" / "config.json").read_text())
    assert checkpoint.load(tmp_path / "new").calibration == {}


def test_tune_calibrates_and_evaluate_says_how_well(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr(language_model, "tune", lambda emissions, words, report: words)  # the search takes long
    replace(model, calibration={}).save(tmp_path / "tuned")
    clips = toy_corpus(tmp_path, 3)
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in clips])
    code, said, _ = run("tune", manifest, "--checkpoint", tmp_path / "tuned", "--every", 1)
    assert code == 0 and "of them right; offset" in said
    loaded = checkpoint.load(tmp_path / "tuned")
    assert loaded.calibration.keys() == DECODERS.keys()
    transcriber = Transcriber(loaded)
    for decoder in DECODERS:
        arguments = ["evaluate", manifest, "--checkpoint", tmp_path / "tuned", "--decoder", decoder]
        told = json.loads(run(*arguments, "--format", "json")[1])["calibration_error"]
        words, right = [], []
        for clip in clips:
            heard = transcriber.transcribe(clip.path, decoder).words
            words += heard
            right += [word.label == clip.text for word in heard]  # the transcripts are of one word
        for name in ("score", "confidence"):
            expected = calibration_error(np.array([getattr(word, name) for word in words]), np.array(right))
            assert told[name] == pytest.approx(expected, abs=2e-3)
        assert told["confidence"] < told["score"]
        assert f"{told['confidence']:.4f} of confidences" in run(*arguments)[1]


def test_of_no_word_there_is_no_calibration_error(run, tmp_path):
    mute = tiny_model()
    with torch.no_grad():
        mute.encoder.head.bias[mute.alphabet.blank] += 99
    mute.save(tmp_path / "mute")
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 2)])
    code, said, _ = run("evaluate", manifest, "--checkpoint", tmp_path / "mute", "--format", "json")
    assert code == 0 and json.loads(said)["calibration_error"] is None
    code, said, _ = run("evaluate", manifest, "--checkpoint", tmp_path / "mute")
    assert code == 0 and "calibration error" not in said


def test_a_reading_without_its_sound_has_the_words_of_one_with_it(model):
    transcriber = Transcriber(model)
    heard = transcriber.transcribe((16_000, speech_like(3.0)), "beam")
    unheard = transcriber.read(heard.emission, Sound.unheard(len(heard.emission) * FRAME_S), "beam")
    assert [(word.label, word.score, word.confidence) for word in unheard.words] == [
        (word.label, word.score, word.confidence) for word in heard.words
    ]
