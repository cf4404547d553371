"""Rules 1 to 7, 22: what log_probs is and how it was made. Every mistake is made; the same set-up made right is healthy."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import BLANK, VOCABULARY, Toy, case, of_model, right, spoken, train, trained

from asr_core.doctor import Severity, diagnose


class WithSoftmax(nn.Module):
    """A model whose last layer is a softmax; then, perhaps, what a script does with it in forward."""

    def __init__(self, then=None) -> None:
        super().__init__()
        self.toy, self.then = Toy(), then

    def forward(self, features, lengths):
        probabilities = self.toy(features, lengths).softmax(-1)
        return self.then(probabilities) if self.then else probabilities


def as_numpy(arguments: dict) -> dict:
    return arguments | {"log_probs": arguments["log_probs"].detach().numpy()}


def squeezed() -> dict:
    """What a softmax before log_softmax leads to after some training, without its autograd history."""
    model = Toy()
    train(model, 60, lambda logits: right(logits.softmax(-1)), rate=3e-2)
    return as_numpy(case(model, lambda logits: right(logits.softmax(-1))))


def after_training(feed) -> dict:
    model = Toy()
    losses = train(model, 5, feed)
    assert all(loss < 0 for loss in losses), "a softmax makes the loss negative from the first step"
    return case(model, feed)


def square(transposed: bool) -> dict:
    """As many frames as utterances: a smooth trajectory in each, independent of the others."""
    count = 24
    logits = torch.randn(count, count, VOCABULARY, generator=torch.Generator().manual_seed(0)).cumsum(0) / 3  # (T, B, V)
    log_probs = logits.log_softmax(-1)
    ones = torch.ones(count, 1, dtype=torch.long)
    lengths = torch.full((count,), count)
    return case(
        log_probs=log_probs.transpose(0, 1) if transposed else log_probs,
        targets=ones,
        input_lengths=lengths,
        target_lengths=ones[:, 0],
    )


def detached_loss(step) -> dict:
    arguments = case(step=step, model=Toy())
    detached = arguments["log_probs"].detach()
    rest = [arguments[name] for name in ("targets", "input_lengths", "target_lengths")]
    return arguments | {"log_probs": detached, "loss": torch.nn.functional.ctc_loss(detached, *rest)}


def cut_in_the_middle() -> dict:
    model, batch = Toy(), spoken()
    logits = model(batch["features"], batch["lengths"]).detach().requires_grad_()
    return case(log_probs=right(logits), step=0, model=model)


def attached() -> dict:
    model = Toy()
    return case(model, step=0, model=model)


MISTAKES = {
    "softmax": (1, lambda: after_training(lambda logits: logits.softmax(-1).transpose(0, 1)), case),
    "softmax, from numpy": (
        1,
        lambda: as_numpy(case(None, lambda x: x.softmax(-1).transpose(0, 1))),
        lambda: as_numpy(case()),
    ),
    "logits": (2, lambda: case(trained(), lambda logits: logits.transpose(0, 1)), lambda: case(trained())),
    "logits of an untrained model": (2, lambda: case(None, lambda logits: logits.transpose(0, 1)), case),
    "log_softmax over time": (3, lambda: case(None, lambda logits: logits.log_softmax(1).transpose(0, 1)), case),
    "log_softmax over the batch": (3, lambda: case(None, lambda logits: logits.log_softmax(0).transpose(0, 1)), case),
    "softmax over time": (3, lambda: case(None, lambda logits: logits.softmax(1).transpose(0, 1)), case),
    "softmax twice": (
        4,
        lambda: case(None, lambda logits: right(logits.softmax(-1))),
        lambda: case(None, lambda x: right(x.log_softmax(-1))),
    ),
    "softmax twice, by its values": (
        4,
        lambda: as_numpy(case(trained(), lambda logits: right(logits.softmax(-1)))),
        lambda: as_numpy(case(trained())),
    ),
    "softmax in the model": (4, lambda: of_model(WithSoftmax()), lambda: of_model(Toy())),
    "both in the model": (
        4,
        lambda: as_numpy(of_model(WithSoftmax(lambda p: p.log_softmax(-1)), lambda x: x.transpose(0, 1))),
        lambda: as_numpy(of_model(WithSoftmax(lambda p: p.log()), lambda x: x.transpose(0, 1))),
    ),
    "log of softmax": (
        5,
        lambda: case(trained(), lambda logits: (30 * logits).softmax(-1).log().transpose(0, 1)),
        lambda: case(trained(), lambda logits: right(30 * logits)),
    ),
    "log of softmax, from numpy": (
        5,
        lambda: as_numpy(case(trained(), lambda logits: (30 * logits).softmax(-1).log().transpose(0, 1))),
        lambda: as_numpy(case(trained(), lambda logits: right(30 * logits))),
    ),
    "detached": (6, lambda: detached_loss(0), attached),
    "cut in the middle": (6, cut_in_the_middle, attached),
    "batch first": (7, lambda: case(None, lambda logits: logits.log_softmax(-1)), case),
    "batch, tokens, time": (7, lambda: case(None, lambda logits: logits.log_softmax(-1).transpose(1, 2)), case),
    "float16": (22, lambda: case(trained(), lambda logits: right(logits).half()), lambda: case(trained())),
    "bfloat16": (
        22,
        lambda: case(None, lambda logits: right(logits.bfloat16())),
        lambda: case(None, lambda x: right(x.bfloat16().float())),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_is_named_and_nothing_else_and_the_right_way_is_healthy(mistake):
    rule, wrong, well = MISTAKES[mistake]
    (finding,) = diagnose(**wrong()).findings
    assert (finding.rule, finding.severity) == (rule, Severity.ERROR)
    healthy = diagnose(**well())
    assert healthy.findings == ()
    assert healthy.healthy and not healthy.errors


@pytest.mark.parametrize(
    ("rule", "wrong", "well"),
    [
        (2, lambda: case(None, lambda logits: (logits.softmax(-1) + 1e-3).log().transpose(0, 1)), case),
        (4, squeezed, lambda: as_numpy(case(trained(60)))),
        (5, lambda: case(None, lambda logits: logits.softmax(-1).log().transpose(0, 1)), case),
        (7, lambda: square(True), lambda: square(False)),
        (22, lambda: case(None, lambda logits: right(logits).bfloat16().float()), case),
    ],
)
def test_what_has_not_done_harm_yet_is_a_warning(rule, wrong, well):
    (finding,) = diagnose(**wrong()).findings
    assert (finding.rule, finding.severity) == (rule, Severity.WARNING)
    assert diagnose(**well()).findings == ()


def test_the_losses_of_a_softmax_are_as_negative_as_torch_makes_them():
    arguments = case(None, lambda logits: logits.softmax(-1).transpose(0, 1))
    names = ("log_probs", "targets", "input_lengths", "target_lengths")
    expected = torch.nn.functional.ctc_loss(*(arguments[name] for name in names), reduction="sum")
    diagnosis = diagnose(**arguments)
    assert diagnosis.loss == pytest.approx(expected.item() / int(arguments["target_lengths"].sum()), rel=1e-5)
    assert diagnosis.loss < 0 and diagnosis.ignores_audio_ratio is None


def test_a_token_that_is_switched_off_on_purpose_is_no_underflow():
    masked = case(None, lambda logits: right(logits.masked_fill(torch.arange(VOCABULARY) == 11, -torch.inf)))
    masked["targets"] = masked["targets"].clamp_max(10)
    assert diagnose(**masked).findings == ()


def test_a_loss_computed_outside_of_training_may_be_detached():
    assert diagnose(**detached_loss(None)).findings == ()
    with torch.no_grad():
        assert diagnose(**detached_loss(3)).findings == ()


def test_the_starting_scripts_tensors_yield_its_mistakes_and_no_others():
    """F.softmax, spectrogram.shape // 2 for a stride-2, kernel-3, padding-1 convolution, labels padded with 0 ("'")."""
    torch.manual_seed(0)
    spectrogram_lengths = torch.tensor([1201, 1100, 907, 640])
    stem = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    frames = stem(torch.randn(4, 1, 128, 1201)).shape[-1]
    labels = [torch.randint(0, 28, (count,)) for count in (180, 150, 140, 90)]
    diagnosis = diagnose(
        torch.randn(4, frames, 29).softmax(-1).transpose(0, 1),
        nn.utils.rnn.pad_sequence(labels, batch_first=True),
        spectrogram_lengths // 2,
        torch.tensor([len(label) for label in labels]),
        blank=28,
    )
    assert frames == 601
    assert [(finding.rule, finding.severity.value) for finding in diagnosis.findings] == [(1, "error"), (10, "note")]


def test_other_containers_give_the_same_diagnosis_and_are_not_touched():
    class Foreign:
        """What only speaks the array protocol."""

        def __init__(self, array) -> None:
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    arguments = {name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in case().items()}
    arrays = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()}
    before = {name: np.copy(value) for name, value in arrays.items()}
    for array in arrays.values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    expected = diagnose(**arguments)
    assert diagnose(**arrays).as_dict()["loss"] == expected.loss
    foreign = {name: Foreign(value) if isinstance(value, np.ndarray) else value for name, value in arrays.items()}
    listed = {name: value.tolist() if name.endswith("lengths") else value for name, value in arguments.items()}
    for other in (arrays, foreign, listed):
        assert diagnose(**other).as_dict() | {"skipped": 0} == expected.as_dict() | {"skipped": 0}
    assert all(np.array_equal(before[name], value) for name, value in arrays.items())
    assert arguments["blank"] == BLANK
