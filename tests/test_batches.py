from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic import MELS, RATE, tiny_encoder, toy_corpus

from asr_core.augment import AugmentConfig
from asr_core.data.batches import ROUND_FRAMES, Batch, Example, Skipped, SpeechDataset, bucket, collate, loader
from asr_core.data.utterances import Utterance
from asr_core.features import FeatureConfig, LogMel
from asr_core.phones import pronounce
from asr_core.text import Alphabet


def lasting(*seconds: float) -> list[Utterance]:
    return [Utterance(str(n), Path("x"), "hi", s, "ann") for n, s in enumerate(seconds)]


MANY = lasting(*(1 + 14 * torch.rand(200, generator=torch.Generator().manual_seed(0))).tolist(), 40.0)


def batches_of(size=None, seconds=None, seed: int | None = 0) -> list[list[int]]:
    return bucket(
        [each.duration_s for each in MANY], size, seconds, None if seed is None else torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(("size", "seconds"), [(8, None), (None, 50.0), (4, 30.0)])
def test_batches_hold_every_utterance_once_within_the_limits(size, seconds, seed):
    batches = batches_of(size, seconds, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(MANY)))
    for batch in batches:
        assert batch
        padded_s = len(batch) * max(MANY[index].duration_s for index in batch)
        assert len(batch) == 1 or ((size is None or len(batch) <= size) and (seconds is None or padded_s <= seconds))


def test_a_batch_holds_utterances_of_like_duration():
    for batch in batches_of(8):
        durations = [MANY[index].duration_s for index in batch if MANY[index].duration_s < 40]
        assert max(durations, default=0) <= 1.6 * min(durations, default=0) + 1.0


def test_batches_are_those_of_their_seed():
    assert batches_of(8, seed=1) == batches_of(8, seed=1)
    assert sorted(map(sorted, batches_of(8, seed=1))) != sorted(map(sorted, batches_of(8, seed=2)))


def test_without_a_seed_batches_go_from_short_to_long():
    durations = [MANY[index].duration_s for batch in batches_of(8, seed=None) for index in batch]
    assert durations == sorted(durations)


def dataset_of(utterances, **options) -> SpeechDataset:
    log_mel, encoder = LogMel(FeatureConfig(n_mels=MELS)), tiny_encoder("attention_unet")
    return SpeechDataset(utterances, log_mel, Alphabet(), encoder.output_lengths, **options)


def test_an_example_is_its_features_and_targets(tmp_path):
    (utterance,) = toy_corpus(tmp_path, 1)
    dataset = dataset_of([utterance], with_phones=True)
    example = dataset[0]
    assert example.views[0].shape == (dataset.log_mel.output_lengths(round(utterance.duration_s * RATE)), MELS)
    assert Alphabet().decode(example.targets) == utterance.text
    assert example.phones.tolist() == pronounce(utterance.text)


def test_what_cannot_be_used_is_skipped_and_named_and_the_rest_is_kept(tmp_path):
    good = toy_corpus(tmp_path, 2)
    bad = [
        replace(good[0], id="gone", path=tmp_path / "gone.wav"),
        replace(good[0], id="digits", text="room 101"),
        replace(good[0], id="mute", text=""),
        replace(good[0], id="hasty", text="b" * 200),
    ]
    batch = collate([dataset_of([*good, *bad])[index] for index in range(6)])
    assert batch.utterances == tuple(good)
    reasons = {skipped.id: skipped.reason for skipped in batch.skipped}
    assert list(reasons) == ["gone", "digits", "mute", "hasty"]
    assert "gone.wav" in reasons["gone"]
    assert "'1', '0'" in reasons["digits"]
    assert "empty" in reasons["mute"]
    frames = int(collate([dataset_of(good)[0]]).feature_lengths[0] - 1) // 4 + 1
    assert "200 characters" in reasons["hasty"] and "399 frames" in reasons["hasty"] and f"has {frames}" in reasons["hasty"]


def test_a_target_that_fits_exactly_is_kept(tmp_path):
    (utterance,) = toy_corpus(tmp_path, 1)
    frames = tiny_encoder("attention_unet").output_lengths(len(dataset_of([utterance])[0].views[0]))
    fits, too_long = replace(utterance, text="ab" * frames), replace(utterance, text=("ab" * frames)[: frames + 1])
    fits = replace(fits, text=fits.text[:frames])
    dataset = dataset_of([fits, too_long])
    assert isinstance(dataset[0], Example) and isinstance(dataset[1], Skipped)


def test_padding_is_zero_and_lengths_are_exact(tmp_path):
    dataset = dataset_of(toy_corpus(tmp_path, 4), with_phones=True)
    examples = [dataset[index] for index in range(4)]
    batch = collate(examples)
    longest = max(len(example.views[0]) for example in examples)
    assert batch.features.shape[:3] == (4, 1, MELS) and batch.features.shape[3] in range(longest, longest + ROUND_FRAMES)
    assert batch.features.shape[3] % ROUND_FRAMES == 0
    for row, example in enumerate(examples):
        frames, tokens = len(example.views[0]), len(example.targets)
        assert (batch.feature_lengths[row], batch.target_lengths[row]) == (frames, tokens)
        assert torch.equal(batch.features[row, 0, :, :frames].T, example.views[0])
        assert (batch.features[row, 0, :, frames:] == 0).all()
        assert torch.equal(batch.targets[row, :tokens], example.targets)
        assert batch.phone_lengths[row] == len(example.phones)


def test_a_batch_with_nothing_in_it_is_what_was_skipped():
    skipped = (Skipped("a", "gone"), Skipped("b", "gone"))
    assert collate(skipped) == skipped


def test_random_draws_do_not_depend_on_workers_or_on_the_order(tmp_path):
    corpus = toy_corpus(tmp_path, 6)
    augmented = {"augmentation": AugmentConfig(), "seed": 3}
    plain = list(loader(dataset_of(corpus), [[0, 1], [2, 3], [4, 5]], workers=0))
    here = list(loader(dataset_of(corpus, **augmented), [[0, 1], [2, 3], [4, 5]], workers=0))
    there = list(loader(dataset_of(corpus, **augmented), [[0, 1], [2, 3], [4, 5]], workers=1))
    resumed = list(loader(dataset_of(corpus, **augmented), [[4, 5]], workers=0))
    for ours, theirs, untouched in zip(here, there, plain, strict=True):
        assert isinstance(ours, Batch) and torch.equal(ours.features, theirs.features)
        assert not torch.equal(ours.features, untouched.features)
    assert torch.equal(resumed[0].features, here[2].features)


def test_another_seed_makes_other_examples(tmp_path):
    corpus = toy_corpus(tmp_path, 1)
    first, second = (dataset_of(corpus, augmentation=AugmentConfig(), seed=seed)[0].views[0] for seed in (1, 2))
    assert not torch.equal(first, second)


def test_making_an_example_leaves_torchs_random_state_alone(tmp_path):
    dataset = dataset_of(toy_corpus(tmp_path, 1), augmentation=AugmentConfig())
    state = torch.get_rng_state()
    dataset[0]
    assert torch.equal(torch.get_rng_state(), state)
