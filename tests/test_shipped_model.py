"""The checkpoint that the repository ships, on real speech of speakers that it was not trained on."""

import math
from pathlib import Path

import pytest
import torch

from asr_core import DEFAULT_CHECKPOINT, Transcriber, align
from asr_core.data.utterances import read_manifest
from asr_core.metrics import ErrorCounts, character_errors, word_errors

EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")
MOST_CER = 0.25  # of the four examples together
MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


def test_the_examples_are_heard_to_within_the_stated_error_rate(transcriber):
    heard = [transcriber.transcribe(example.path).text for example in EXAMPLES]
    characters = sum((character_errors(e.text, text) for e, text in zip(EXAMPLES, heard, strict=True)), ErrorCounts())
    words = sum((word_errors(e.text, text) for e, text in zip(EXAMPLES, heard, strict=True)), ErrorCounts())
    assert characters.rate <= MOST_CER
    assert words.rate <= 0.45


def test_the_true_sentence_costs_less_than_another(transcriber):
    for example, other in zip(EXAMPLES, EXAMPLES[1:] + EXAMPLES[:1], strict=True):
        heard = transcriber.transcribe(example.path)
        assert align(heard, example.text).loss < 0.5 * align(heard, other.text).loss


def test_a_word_lies_where_a_person_hears_it(transcriber):
    # "hard" in "... work too hard said shaggy": its vowel is the loudest stretch between 2.0 and 2.4 s of the first example.
    words = align(transcriber.transcribe(EXAMPLES[0].path), EXAMPLES[0].text).aligned.words
    hard = next(word for word in words if word.label == "hard")
    assert 1.9 < hard.start_s < 2.2 and 2.2 < hard.end_s < 2.6


def test_the_checkpoint_is_small_and_says_how_it_was_made(transcriber):
    sizes = {file.name: file.stat().st_size for file in DEFAULT_CHECKPOINT.iterdir()}
    language_model = DEFAULT_CHECKPOINT.parent / "language_model.safetensors"
    assert language_model.stat().st_size <= 10_000_000  # what a Space takes without large-file storage
    assert sum(sizes.values()) <= MOST_BYTES
    model = transcriber.model
    assert 5_000_000 <= model.encoder.parameter_count <= 12_000_000
    assert {"config", "utterances", "hours", "history"} <= model.training.keys()
    assert 0 < model.metrics["validation"]["wer"] < 1


def test_its_replay_leaves_the_plateau_of_blanks_and_ends_with_what_is_shipped(transcriber):
    replay, blank = transcriber.model.replay, transcriber.model.alphabet.blank
    clips = range(len(replay.names))
    blanks = [
        float(torch.cat([replay.emission(moment, clip).log_probs.argmax(-1) == blank for clip in clips]).float().mean())
        for moment in range(len(replay.snapshots))
    ]
    assert replay.snapshots[0].step == 0 and replay.snapshots[0].loss > math.log(len(replay.alphabet))  # chance
    assert 1.0 in blanks[:8] and blanks[-1] < 0.5
    for clip in clips:
        sound = replay.sound(clip)
        heard = transcriber.transcribe((sound.sample_rate, sound.samples), "greedy").emission
        differences = (heard.log_probs.exp() - replay.emission(-1, clip).log_probs.exp()).abs()
        assert differences.mean() < 0.001  # a pass earlier 0.002; it holds 255ths, and the weights are rounded to 8 bits
