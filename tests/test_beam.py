import math
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.beam import PIECE_S, beam_path, beam_search, beam_text
from asr_core.data.utterances import read_manifest
from asr_core.decoding import collapse, greedy_decode, greedy_path
from asr_core.emission import Emission
from asr_core.kneser_ney import estimate
from asr_core.lookahead import Lookahead
from asr_core.metrics import ErrorCounts, word_errors
from asr_core.text import Alphabet
from asr_core.tuning import FIELDS, START, tune

TINY = Alphabet((" ", "a", "b", "<blank>"), 3)
EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")
EXACT = 10**6  # more texts than there are


def random_log_probs(frames: int, seed: int, tokens: int = 4, sharpness: float = 2.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(sharpness * draw.standard_normal((frames, tokens))).float().log_softmax(-1).numpy()


def exhaustive(log_probs: np.ndarray, blank: int) -> dict[tuple[int, ...], float]:
    """Every text -> ln of the summed probability of all its paths, by trying every path."""
    paths = defaultdict(list)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        paths[tuple(collapse(path, blank))].append(sum(float(log_probs[t, token]) for t, token in enumerate(path)))
    return {text: float(np.logaddexp.reduce(scores)) for text, scores in paths.items()}


@pytest.fixture(scope="module")
def language_model():
    """Knows a, ab, ba and bab; anything else is unknown to it."""
    sentences = ["a ab", "ab ba", "bab", "ab ab ba", "a a bab", "ba ab a", "bb"]
    return estimate(sentences, 4, 10**6, 10**6)


def text_score(model, text: str, weight: float, bonus: float, letters: int) -> float:
    """What the language model says of a text, straight from its definition."""
    words = text.removesuffix(" ").split(" ") if text else []
    if "" in words or text == " ":
        return -math.inf  # nothing between two spaces
    score = weight * sum(model.word_log_probs(words)) + bonus * len(words)
    unknown = [word for word in words if word not in model.words]
    return score - weight * sum(len(word) + 1 for word in unknown) * math.log(letters + 1)


@given(frames=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_without_a_language_model_it_finds_what_an_exhaustive_search_finds(frames, seed):
    log_probs = random_log_probs(frames, seed)
    expected = exhaustive(log_probs, TINY.blank)
    found = {each.tokens: each.log_prob for each in beam_search(log_probs, TINY.blank, width=EXACT)}
    assert found.keys() == expected.keys()
    for text, log_prob in expected.items():
        assert found[text] == pytest.approx(log_prob, abs=1e-4)


@given(
    frames=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    weight=st.floats(0, 2),
    bonus=st.floats(-2, 2),
    prior=st.lists(st.floats(-9, 0), min_size=4, max_size=4),
    prior_weight=st.floats(0, 1),
)
def test_with_a_language_model_it_finds_what_an_exhaustive_search_finds(
    language_model, frames, seed, weight, bonus, prior, prior_weight
):
    log_probs = random_log_probs(frames, seed)
    tuned = replace(language_model, weight=weight, word_bonus=bonus, prior=tuple(prior), prior_weight=prior_weight)
    lookahead = Lookahead(tuned, TINY)
    expected = {
        tokens: log_prob + text_score(language_model, TINY.decode(tokens), weight, bonus, letters=2)
        for tokens, log_prob in exhaustive(log_probs - prior_weight * np.array(prior), TINY.blank).items()
    }
    found = {each.tokens: each.score for each in beam_search(log_probs, TINY.blank, lookahead, EXACT)}
    assert found.keys() == {tokens for tokens, score in expected.items() if score > -math.inf}
    for tokens, score in found.items():
        assert score == pytest.approx(expected[tokens], abs=1e-4)


@given(seed=st.integers(0, 10**6), width=st.integers(1, 50))
def test_a_narrower_beam_finds_nothing_better_and_claims_no_more_than_there_is(seed, width):
    log_probs = random_log_probs(6, seed)
    exact = {each.tokens: each.log_prob for each in beam_search(log_probs, TINY.blank, width=EXACT)}
    for each in beam_search(log_probs, TINY.blank, width=width):
        assert each.log_prob <= exact[each.tokens] + 1e-4


def test_the_best_text_need_not_have_the_best_path():
    # p(blank) = 0.6 in both frames: the best path is empty with 0.36, but "a" has 0.24 + 0.24 + 0.16.
    log_probs = np.log(np.array([[1e-9, 0.4, 1e-9, 0.6]] * 2, np.float32))
    best = beam_search(log_probs, TINY.blank)[0]
    assert best.tokens == (1,)
    assert math.exp(best.log_prob) == pytest.approx(0.64, abs=1e-4)


def test_an_emission_of_no_frames_has_the_empty_text():
    assert beam_search(np.zeros((0, 4), np.float32), TINY.blank)[0].tokens == ()


def test_a_word_that_the_model_knows_is_preferred_to_one_that_sounds_as_good():
    model = estimate(["bad dab"] * 3 + ["a"], 3, 10**6, 10**6)
    alphabet = Alphabet((" ", "a", "b", "d", "<blank>"), 4)
    log_probs = np.full((6, 5), -12.0, np.float32)
    for frame, token in enumerate([2, 4, 1, 4, 3, 4]):  # b a d, and its last letter is as well a b
        log_probs[frame, token] = -0.1
    log_probs[4, [2, 3]] = math.log(0.51), math.log(0.48)
    assert greedy_decode(torch.tensor(log_probs)[None], torch.tensor([6]), alphabet) == ["bab"]
    lookahead = Lookahead(replace(model, weight=0.5), alphabet)
    assert beam_text(Emission(torch.tensor(log_probs), 0.04, alphabet), lookahead) == "bad"


@given(frames=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_its_path_spells_the_best_text(frames, seed):
    emission = Emission(torch.from_numpy(random_log_probs(frames, seed)), 0.04, TINY)
    path = beam_path(emission)
    assert len(path) == frames
    assert tuple(collapse(path, TINY.blank)) == beam_search(emission.log_probs.numpy(), TINY.blank)[0].tokens


def test_a_long_recording_is_cut_at_spaces_and_says_the_same():
    draw = np.random.default_rng(4)
    tokens = [[int(letter), 3] for word in range(90) for letter in [*draw.integers(1, 3, draw.integers(1, 5)), 0]]
    path = torch.tensor(tokens).flatten()
    log_probs = (6.0 * torch.nn.functional.one_hot(path, 4)).log_softmax(-1)
    emission = Emission(log_probs, frame_s=4.5 * PIECE_S / len(path), alphabet=TINY)  # five pieces
    assert collapse(beam_path(emission), TINY.blank) == collapse(greedy_path(emission), TINY.blank)
    assert len(beam_path(emission)) == len(path)


def test_pieces_of_words_are_cut_at_blanks_and_say_the_same():
    pieces = Alphabet((" ab", "c", " ", "_"), 3)
    path = [0, 3, 1, 1, 3, 0, 0, 3, 3, 1, 3] * 20
    logits = 8.0 * torch.nn.functional.one_hot(torch.tensor(path), 4)
    emission = Emission(logits.log_softmax(-1), frame_s=4.5 * PIECE_S / len(path), alphabet=pieces)  # five pieces
    assert pieces.decode(collapse(beam_path(emission, width=16), 3)) == pieces.decode(collapse(path, 3)) == " abc abc" * 20


@given(frames=st.integers(30, 60), seed=st.integers(0, 10**6))
def test_its_text_is_that_of_its_path(frames, seed):
    emission = Emission(torch.from_numpy(random_log_probs(frames, seed)), PIECE_S / 20, TINY)  # two to four pieces
    spelled = TINY.decode(collapse(beam_path(emission, width=256), TINY.blank))
    assert beam_text(emission) == " ".join(spelled.split())


def test_a_long_silence_is_no_text():
    log_probs = torch.tensor([0.0, 0.0, 0.0, 6.0]).log_softmax(-1).expand(300, 4)
    path = beam_path(Emission(log_probs, PIECE_S / 100, TINY))
    assert not TINY.decode(collapse(path, TINY.blank))


def test_a_silence_of_many_pieces_is_one_space():
    heard = torch.tensor([1, 3, 2, *[3] * 500, 2, 3, 1])
    emission = Emission((9.0 * torch.nn.functional.one_hot(heard, 4)).log_softmax(-1), PIECE_S / 100, TINY)
    assert TINY.decode(collapse(beam_path(emission), TINY.blank)) == "ab ba"


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


def test_on_real_speech_the_shipped_language_model_mends_a_fifth_of_the_words(transcriber):
    counts = {"greedy": ErrorCounts(), "beam": ErrorCounts()}
    for example in EXAMPLES:
        emission = transcriber.transcribe(example.path, "greedy").emission
        for decoder in counts:
            sound = transcriber.transcribe(example.path).sound
            counts[decoder] += word_errors(example.text, transcriber.read(emission, sound, decoder).text)
    assert counts["beam"].rate < 0.8 * counts["greedy"].rate  # of 45 words; the card has the figures of 26,870


def test_tuning_finds_weights_that_make_fewer_errors(transcriber):
    emissions = [(each.text, transcriber.transcribe(each.path, "greedy").emission) for each in EXAMPLES[:2]]
    reports: list[str] = []
    shipped = transcriber.model.language_model
    tuned = tune(emissions, shipped, reports.append)

    shares = torch.cat([emission.log_probs for _, emission in emissions]).exp().mean(0)
    assert tuned.prior == pytest.approx(shares.clamp(min=1e-4).log().tolist(), abs=1e-3)
    assert max(tuned.prior) < 0 and math.fsum(map(math.exp, tuned.prior)) == pytest.approx(1, abs=5e-3)

    def errors(**weights: float) -> int:
        lookahead = transcriber.lookahead.weighted(prior=tuned.prior, **weights)
        return sum(word_errors(text, beam_text(emission, lookahead)).errors for text, emission in emissions)

    found = errors(**{name: getattr(tuned, name) for name in FIELDS})
    start = dict(zip(FIELDS, START, strict=True))
    assert found <= errors(**start)
    for name, other in (("weight", 0.9), ("word_bonus", 1.0), ("prior_weight", 0.2), ("phone_weight", 0.2)):
        assert found <= errors(**start | {name: other})
    assert len(reports) >= 9


def test_the_weight_of_phones_that_nobody_hears_is_not_looked_for(transcriber):
    heard = transcriber.transcribe(EXAMPLES[0].path, "greedy").emission
    reports: list[str] = []
    tune([(EXAMPLES[0].text, replace(heard, phones=None))], transcriber.model.language_model, reports.append)
    assert reports and not any("phone" in told for told in reports)
