from dataclasses import replace

import jiwer
import pytest
import torch
from synthetic import tiny_model, toy_corpus
from torch.nn import functional as F

from asr_core.data.batches import SpeechDataset, bucket, loader
from asr_core.evaluation import Evaluation, evaluate
from asr_core.models import ENCODERS
from asr_core.transcriber import Transcriber


@pytest.fixture(params=sorted(ENCODERS))
def model(request):
    """An untrained encoder, made to speak: its blank is held down, so that hypotheses hold letters and spaces."""
    model = tiny_model(request.param)
    last = [module for module in model.encoder.modules() if isinstance(module, torch.nn.Linear)]
    head = next(linear for linear in last if linear.out_features == len(model.alphabet))
    with torch.no_grad():
        head.weight *= 8
        head.bias[model.alphabet.blank] -= 1
    return model


@pytest.fixture
def corpus(tmp_path):
    return toy_corpus(tmp_path, 7)


def evaluated(model, utterances, batch_size: int):
    dataset = SpeechDataset(utterances, model.log_mel(), model.alphabet, model.encoder.output_lengths)
    return evaluate(model, loader(dataset, bucket(dataset.durations_s(), batch_size, None, None), workers=0))


def test_the_figures_are_those_of_each_utterance_alone(model, corpus):
    evaluation = evaluated(model, corpus, batch_size=3)
    hypotheses, loss = {}, 0.0
    for utterance in corpus:
        transcription = Transcriber(model).transcribe(utterance.path)
        hypotheses[utterance.id] = transcription.text
        log_probs, targets = transcription.emission.log_probs, torch.tensor(model.alphabet.encode(utterance.text))
        loss += F.ctc_loss(log_probs, targets, (len(log_probs),), (len(targets),), model.alphabet.blank, "sum").item()
    references = [utterance.text for utterance in corpus]
    spoken = [hypotheses[utterance.id] for utterance in corpus]
    assert any(spoken)
    assert {pair.id: pair.hypothesis for pair in evaluation.decoded} == hypotheses
    assert {pair.id: pair.reference for pair in evaluation.decoded} == {u.id: u.text for u in corpus}
    assert evaluation.wer == pytest.approx(jiwer.wer(references, spoken))
    assert evaluation.cer == pytest.approx(jiwer.cer(references, spoken))
    assert evaluation.loss == pytest.approx(loss / sum(map(len, references)), rel=1e-4)
    assert evaluation.audio_s == pytest.approx(sum(utterance.duration_s for utterance in corpus))


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_batch_size_does_not_change_a_hypothesis(model, corpus, batch_size):
    expected, got = evaluated(model, corpus, 4), evaluated(model, corpus, batch_size)
    assert sorted(map(vars, got.decoded), key=str) == sorted(map(vars, expected.decoded), key=str)
    assert got.words == expected.words and got.characters == expected.characters
    assert got.loss == pytest.approx(expected.loss, rel=1e-4)


def test_what_is_skipped_is_named_and_the_rest_is_measured(model, corpus):
    broken = [*corpus, replace(corpus[0], id="gone", path=corpus[0].path.with_name("gone.wav"))]
    evaluation = evaluated(model, broken, batch_size=2)
    assert [skipped.id for skipped in evaluation.skipped] == ["gone"]
    whole = evaluated(model, corpus, batch_size=2)
    assert (evaluation.words, evaluation.characters) == (whole.words, whole.characters)
    summary = evaluation.summary()
    assert (summary["utterances"], summary["skipped"], summary["wer"], summary["cer"]) == (7, 1, whole.wer, whole.cer)


def test_nothing_measured_is_not_a_perfect_score(model, corpus):
    gone = [replace(utterance, path=utterance.path.with_suffix(".gone")) for utterance in corpus]
    evaluation = evaluated(model, gone, batch_size=2)
    assert len(evaluation.skipped) == 7
    assert not evaluation.wer <= 1.0  # 0 would be the best model ever trained


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_uses_eval_mode_and_puts_the_mode_back(model, corpus, training):
    expected = evaluated(model, corpus, 4).loss
    model.encoder.train(training)
    assert evaluated(model, corpus, 4).loss == expected  # dropout would change it
    assert model.encoder.training is training


def test_evaluation_leaves_no_gradient(model, corpus):
    evaluated(model, corpus, 4)
    assert all(parameter.grad is None for parameter in model.encoder.parameters())


def test_the_figures_of_speakers_are_those_of_their_utterances_alone(model, corpus):
    evaluation = evaluated(model, corpus, 3)
    assert set(evaluation.of_speakers()) == {utterance.speaker for utterance in corpus}
    for speaker, (words, characters) in evaluation.of_speakers().items():
        alone = evaluated(model, [utterance for utterance in corpus if utterance.speaker == speaker], 3)
        assert (words, characters) == (alone.words, alone.characters)


def test_parts_joined_are_the_whole(model, corpus):
    whole = evaluated(model, corpus, 3)
    joined = Evaluation.joined([evaluated(model, corpus[:2], 3), evaluated(model, corpus[2:], 3), evaluated(model, [], 3)])
    assert (joined.words, joined.characters) == (whole.words, whole.characters)
    assert joined.loss == pytest.approx(whole.loss, rel=1e-5) and joined.audio_s == pytest.approx(whole.audio_s)
    assert {each.id for each in joined.decoded} == {each.id for each in whole.decoded}
