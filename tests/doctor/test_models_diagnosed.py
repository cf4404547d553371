"""Rules 8, 20, 23, 25, 26, 28: the model, and what it is called with. Each made wrong, and made right."""

import contextlib

import pytest
import torch
from torch import nn
from toy import FEATURES, VOCABULARY, Toy, case, of_model, right, spoken, train, trained

from asr_core.doctor import diagnose

BATCH = spoken()
FRAMES = BATCH["features"].shape[1]


def viewed(logits: torch.Tensor) -> torch.Tensor:
    """(B, T, V) -> (T, B, V) as it is often written."""
    batch, frames, tokens = logits.shape
    return logits.log_softmax(-1).reshape(frames, batch, tokens)


class Viewing(Toy):
    """For a time-first layer, `view` in place of `transpose`; and back again the same way, so that shapes are right."""

    swap = staticmethod(lambda x: x.reshape(x.shape[1], x.shape[0], x.shape[2]))

    def __init__(self) -> None:
        super().__init__()
        self.time_first = nn.GRU(VOCABULARY, VOCABULARY)

    def forward(self, features, lengths):
        return self.swap(self.time_first(3 * self.swap(super().forward(features, lengths)))[0])


class Transposing(Viewing):
    swap = staticmethod(lambda x: x.transpose(0, 1))


class Flattening(nn.Module):
    """The step from 2-D convolutions to frames: (B, C, M, T) -> (B, T, C * M)."""

    def __init__(self, properly: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.properly = properly
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4 * FEATURES, VOCABULARY)

    def forward(self, features, lengths):
        x = self.convolution(features.transpose(1, 2)[:, None])  # (B, 4, F, T)
        batch, _, _, frames = x.shape
        return self.head(x.permute(0, 3, 1, 2).reshape(batch, frames, -1) if self.properly else x.view(batch, frames, -1))


def without_history(model: nn.Module) -> dict:
    arguments = of_model(model)
    return arguments | {"log_probs": arguments["log_probs"].detach().numpy()}


def leaking() -> dict:
    model = Toy(masked=False)
    train(model, 100)
    return of_model(model.eval())


def plateau(steps: int, silence: bool) -> dict:
    """A model that heard only silence has nothing better to say than blanks; then it is asked about speech."""
    model = trained(60 if silence else 25, silence)
    features = torch.zeros_like(BATCH["features"]) if silence else BATCH["features"]
    return case(log_probs=right(model(features, BATCH["lengths"])), step=steps)


def with_features(features: torch.Tensor, **changes) -> dict:
    model = Toy()
    batch = (features, BATCH["lengths"])
    return case(log_probs=right(model(*batch)), model=model, batch=batch) | changes


def one_bad_utterance() -> torch.Tensor:
    features = BATCH["features"].clone()
    features[3, 5, 2] = torch.nan
    return features


def spoilt_weights() -> dict:
    model = Toy()
    with torch.no_grad():
        model.second.bias[3] = torch.nan
    return of_model(model)


def normalised(by_batch: bool) -> torch.Tensor:
    features = BATCH["features"] + torch.randn(6, 1, 1, generator=torch.Generator().manual_seed(1))
    if by_batch:
        return (features - features.mean()) / features.std()
    return (features - features.mean((1, 2), keepdim=True)) / features.std((1, 2), keepdim=True)


def normed(**options) -> dict:
    return of_model(Toy(norm=nn.BatchNorm1d(32, **options)).eval())


def resting(model: nn.Module) -> dict:
    with torch.no_grad():
        return case(model, model=model)


MISTAKES = {
    "view at the end": (8, "error", lambda: case(None, viewed), case),
    "view within the model": (8, "error", lambda: case(Viewing()), lambda: case(Transposing())),
    "view, from numpy": (8, "error", lambda: without_history(Viewing()), lambda: without_history(Transposing())),
    "view of a convolution": (8, "error", lambda: case(Flattening(False)), lambda: case(Flattening(True))),
    "plateau": (20, "error", lambda: plateau(6_000, True), lambda: plateau(100, True)),
    "a plateau that ends": (20, "error", lambda: plateau(6_000, True), lambda: case(trained(), step=6_000)),
    "NaN in the features": (
        23,
        "error",
        lambda: with_features(one_bad_utterance()),
        lambda: with_features(BATCH["features"]),
    ),
    "NaN in the weights": (23, "error", spoilt_weights, lambda: of_model(Toy())),
    "NaN added to the loss": (23, "error", lambda: case(loss=float("nan")), lambda: case(loss=2.0)),
    "padding leaks": (26, "warning", leaking, lambda: of_model(trained())),
    "features of the batch": (
        28,
        "warning",
        lambda: with_features(normalised(True)),
        lambda: with_features(normalised(False)),
    ),
    "norm without statistics": (28, "warning", lambda: normed(track_running_stats=False), normed),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_is_named_and_nothing_else_and_the_right_way_is_healthy(mistake):
    rule, severity, wrong, well = MISTAKES[mistake]
    (finding,) = diagnose(**wrong()).findings
    assert (finding.rule, finding.severity.value) == (rule, severity)
    assert diagnose(**well()).findings == ()


@pytest.mark.parametrize("noisy", [{"dropout": 0.3}, {"norm": nn.BatchNorm1d(32)}])
def test_a_model_evaluated_in_training_mode_is_found(noisy):
    model = Toy(**noisy)
    with torch.no_grad():
        (finding,) = diagnose(**resting(model)).findings
        assert (finding.rule, finding.severity.value) == (26, "warning")
        assert diagnose(**resting(model.eval())).findings == ()
    assert diagnose(**case(model, model=model.train())).findings == ()  # a step of training


def test_one_bad_utterance_is_named_with_what_spoilt_it():
    (finding,) = diagnose(**with_features(one_bad_utterance(), ids=[f"clip-{n}" for n in range(6)])).findings
    assert "1 of 6 utterances" in finding.evidence and "the features of utterance clip-3 are not finite" in finding.evidence
    (finding,) = diagnose(**spoilt_weights()).findings
    assert "6 of 6 utterances" in finding.evidence and "first second.bias" in finding.evidence


def test_a_device_that_cannot_do_what_was_asked_is_found():
    @contextlib.contextmanager
    def deterministic():
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)

    with deterministic():
        (finding,) = diagnose(**case(device="cuda")).findings
        assert diagnose(**case()).findings == ()  # on the CPU
    assert finding.rule == 25
    assert diagnose(**case(device="cuda")).findings == ()  # nobody asked
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key("aten::_ctc_loss", "MPS")
    assert [f.rule for f in diagnose(**case(device="mps")).findings] == ([] if has_kernel else [25])


def test_the_model_is_left_as_it_was():
    model = Toy(dropout=0.5, norm=nn.BatchNorm1d(32))
    model.norm.eval()  # frozen, while the rest trains
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    diagnose(**of_model(model) | {"log_probs": case()["log_probs"]})
    torch.manual_seed(3)
    arguments = of_model(model)
    torch.manual_seed(3)
    diagnose(**arguments)
    assert torch.equal(torch.rand(2), expected)
    assert [module.training for module in (model, model.norm, model.dropout)] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.head._forward_hooks and all(parameter.grad is None for parameter in model.parameters())


def test_a_batch_that_the_model_cannot_take_leaves_its_rules_out_and_says_so():
    diagnosis = diagnose(**case(model=Toy(), batch=(BATCH["features"],)))
    assert diagnosis.findings == ()
    assert not any(rule == 26 for rule, _, _ in diagnosis.skipped)  # it needs the model alone, for its first half
    diagnosis = diagnose(**without_history(Toy()) | {"batch": "nonsense"})
    assert any(rule == 8 and "can be called with" in reason for rule, _, reason in diagnosis.skipped)
