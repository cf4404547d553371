import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save_file

from asr_core.kneser_ney import estimate, perplexity
from asr_core.language_model import BOUNDARY, SPECIAL, STEP, UNKNOWN, LanguageModelError, load

ALL = 10**9
VERSES = Path(__file__).parent / "verses.txt"


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return VERSES.read_text().splitlines()


@pytest.fixture(scope="module")
def model(sentences):
    return estimate(sentences, 60, ALL, ALL)


def brute_force_kneser_ney(sentences: list[str], known: set[str]) -> dict[tuple[str, ...], float]:
    """Interpolated modified Kneser-Ney, by Chen and Goodman's equations and dictionaries: n-gram -> probability."""
    grams = defaultdict(Counter)
    for sentence in sentences:
        words = ["|", *(word if word in known else "?" for word in sentence.split()), "|"]
        for order in (2, 3):
            grams[order].update(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
    histories = defaultdict(set)
    for gram in [*grams[2], *grams[3]]:
        histories[gram[1:]].add(gram[0])
    two = {gram: count if gram[0] == "|" else len(histories[gram]) for gram, count in grams[2].items()}
    one = {(word,): len(histories[(word,)]) for word in [*known, "|", "?"]}

    def smoothed(counts: dict, lower) -> dict:
        n = Counter(counts.values())
        discount = {0: 0.0}
        for c in (1, 2, 3):
            y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0
            d = c - (c + 1) * y * n[c + 1] / n[c] if n[c] and n[1] else 0
            discount[c] = d if 0 < d < c else 0.5
        contexts = defaultdict(list)
        for gram, count in counts.items():
            contexts[gram[:-1]].append(count)
        result = {}
        for gram, count in counts.items():
            siblings = contexts[gram[:-1]]
            gamma = sum(discount[min(c, 3)] for c in siblings) / sum(siblings)
            result[gram] = (count - discount[min(count, 3)]) / sum(siblings) + gamma * lower(gram)
        return result

    uniform = 1 / (len(known) + 2)
    ones = smoothed(one, lambda gram: uniform)
    twos = smoothed(two, lambda gram: ones[gram[1:]])
    return ones | twos | smoothed(grams[3], lambda gram: twos[gram[1:]])


def test_every_probability_is_that_of_the_published_equations(model, sentences):
    expected = brute_force_kneser_ney(sentences, set(model.words))
    name = {BOUNDARY: "|", UNKNOWN: "?"} | {index + SPECIAL: word for index, word in enumerate(model.words)}
    pairs = [(name[key >> 16], name[key & 0xFFFF]) for key in model.pair_keys.tolist()]
    triples = [(*pairs[key >> 16], name[key & 0xFFFF]) for key in model.triple_keys.tolist()]
    assert len(pairs) > 100 and len(triples) > 100
    for index in range(len(model.one)):
        assert math.exp(model.one[index]) == pytest.approx(expected[(name[index],)], rel=1e-5)
    for grams, log_probs in ((pairs, model.two), (triples, model.three)):
        for gram, log_prob in zip(grams, log_probs.tolist(), strict=True):
            assert math.exp(log_prob) == pytest.approx(expected[gram], rel=1e-5)


@pytest.mark.parametrize("kept", [(ALL, ALL), (40, 30), (0, 0)])
def test_the_probabilities_after_any_two_words_sum_to_one_however_much_was_pruned(sentences, kept):
    model = estimate(sentences, 60, *kept)
    every = np.arange(len(model.one))
    contexts = [(-1, word) for word in every] + [(pair, model.pair_keys[pair] & 0xFFFF) for pair in range(len(model.two))]
    for pair, previous in contexts:
        log_probs, _ = model.log_probs(np.full(len(every), pair), np.full(len(every), previous), every)
        assert np.exp(log_probs.astype(float)).sum() == pytest.approx(1, abs=1e-4)


def test_pruning_keeps_as_many_as_asked_for_and_the_contexts_of_trigrams(sentences):
    model = estimate(sentences, 60, 40, 30)
    assert len(model.three) == 30
    assert 40 <= len(model.two) <= 70
    assert set((model.triple_keys >> 16).tolist()) <= set(range(len(model.two)))


def test_what_it_was_made_of_is_less_of_a_surprise_than_the_words_in_another_order(model, sentences):
    turned = [" ".join(reversed(sentence.split())) for sentence in sentences]
    assert perplexity(model, sentences) < perplexity(model, turned) / 2


def test_the_rest_of_the_words_are_unknown(sentences):
    model = estimate(sentences, 5, ALL, ALL)
    assert len(model.words) == 5
    assert model.word_log_probs(["xyzzy"]) == model.word_log_probs(["plugh"])
    assert "the" in model.words


def test_the_file_holds_the_model_to_half_a_step(model, tmp_path):
    model.save(tmp_path / "lm")
    again = load(tmp_path / "lm")
    assert again.words == model.words
    assert (again.pair_keys == model.pair_keys).all() and (again.triple_keys == model.triple_keys).all()
    for name in ("one", "one_backoff", "two", "two_backoff", "three"):
        stored = np.clip(getattr(model, name), -18, 2)
        assert np.abs(getattr(again, name) - stored).max() <= STEP / 2 + 1e-5


def spoilt(tensors: dict, how: str) -> dict:
    if how == "lacks a tensor":
        del tensors["two"]
    elif how == "has floats for bytes":
        tensors["three"] = tensors["three"].astype(np.float32)
    elif how == "has a matrix":
        tensors["one"] = tensors["one"][None]
    elif how == "is cut":
        tensors["three"] = tensors["three"][:-1]
    elif how == "counts more pairs than it has":
        tensors["two_sizes"] = tensors["two_sizes"] + np.uint16(1)
    elif how == "names a word beyond the last":
        tensors["two_words"] = np.full_like(tensors["two_words"], 60_000)
    elif how == "has words out of order":
        tensors["words"] = np.frombuffer(b"\n".join(sorted(tensors["words"].tobytes().split(b"\n"))[::-1]), np.uint8)
    elif how == "has words that are no text":
        tensors["words"] = np.full_like(tensors["words"], 0xFF)
    return tensors


SPOILT = ["lacks a tensor", "has floats for bytes", "has a matrix", "is cut", "counts more pairs than it has"]
SPOILT += ["names a word beyond the last", "has words out of order", "has words that are no text"]


@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_contradicts_itself_is_refused_with_a_sentence(model, tmp_path, how):
    path = tmp_path / "language_model.safetensors"
    model.save(path)
    save_file(spoilt(load_tensors(path.read_bytes()), how), path)
    with pytest.raises(LanguageModelError, match=r"^language_model.safetensors.*\.$"):
        load(path)


def test_a_file_that_is_not_there_or_something_else_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    with pytest.raises(LanguageModelError, match="not a safetensors file"):
        load(tmp_path / "noise")


def test_no_text_makes_no_model():
    with pytest.raises(LanguageModelError, match="no word"):
        estimate(["", " "], 10, 10, 10)
