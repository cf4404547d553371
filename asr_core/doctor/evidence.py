"""The caller's inputs in one read-only form, and the quantities that several rules share, each computed once when asked
for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_core import ctc
from asr_core.doctor.history import History, history_of
from asr_core.doctor.inputs import Inputs, louder
from asr_core.doctor.kinds import Kind, kind_of
from asr_core.doctor.tensors import EvidenceError, as_counts, as_tensor

HALVES = (torch.float16, torch.bfloat16)
LAYOUTS = {"(T, B, V)": (0, 1, 2), "(B, T, V)": (1, 0, 2), "(B, V, T)": (2, 0, 1)}  # how each is permuted to (T, B, V)


class Evidence:
    """A CTC batch as torch.nn.CTCLoss takes it. Nothing of the caller's is moved, changed or kept beyond this object.

    log_probs (T, B, V), or (T, V) for one utterance; targets (B, L) padded, or concatenated (sum of target_lengths,);
    input_lengths, target_lengths (B,). The rest as in diagnose. Raises EvidenceError when the shapes make no batch.
    """

    NEEDS = {
        "history": "log_probs as your torch code made it: numbers from elsewhere have no autograd history",
        "step": "step=, the training step that the batch comes from",
        "loss": "loss=, what your loss function returned",
        "labels": "labels=, the text of every output",
        "durations": "durations=, how long each utterance is",
        "rates": "sample_rate= and expected_sample_rate=",
        "model": "model=",
        "batch": "model= and a batch= that the model can be called with",
        "device": "the device of the loss, from a torch tensor or device=",
    }

    def __init__(
        self,
        log_probs: object,
        targets: object,
        input_lengths: object,
        target_lengths: object,
        *,
        blank: int = 0,
        loss: object = None,
        reduction: str | None = None,
        zero_infinity: bool = False,
        step: int | None = None,
        ids: Sequence[object] | None = None,
        labels: Sequence[str] | None = None,
        texts: Sequence[str] | None = None,
        durations: object = None,
        sample_rate: float | None = None,
        expected_sample_rate: float | None = None,
        device: str | None = None,
        model: nn.Module | None = None,
        batch: object = None,
    ) -> None:
        self.blank, self.reduction, self.zero_infinity, self.step = int(blank), reduction, zero_infinity, step
        self.ids, self.labels, self.texts = ids, labels, texts
        self.sample_rate, self.expected_sample_rate = sample_rate, expected_sample_rate
        self.model, self.batch = model, batch
        self._given, self._given_loss = log_probs, loss
        self.loss = None if loss is None else as_tensor(loss, "loss").double().cpu()
        self.loss_is_tensor = isinstance(loss, Tensor)
        self.input_lengths = as_counts(input_lengths, "input_lengths").reshape(-1)  # (B,)
        self.target_lengths = as_counts(target_lengths, "target_lengths").reshape(-1)  # (B,)
        self.durations = None if durations is None else as_tensor(durations, "durations").reshape(-1)  # (B,)
        given = as_tensor(log_probs, "log_probs")
        self.dtype = given.dtype
        self.device = device or (given.device.type if isinstance(log_probs, Tensor) else None)
        self.layout = self._layout(given)
        if given.ndim == 2:
            given = given[:, None]
        ordered = given.permute(LAYOUTS[self.layout])  # (T, B, V)
        self.log_probs = ordered if self.dtype == torch.float64 else ordered.float()
        self.targets_as_given = as_tensor(targets, "targets")
        self.targets = self._padded(as_counts(targets, "targets"))  # (B, L)
        self._check()

    @property
    def utterances(self) -> int:
        return len(self.target_lengths)

    @property
    def frames(self) -> int:
        return self.log_probs.shape[0]

    @property
    def vocabulary(self) -> int:
        return self.log_probs.shape[2]

    def name(self, utterance: int) -> str:
        return f"utterance {utterance} of the batch" if self.ids is None else f"utterance {self.ids[utterance]}"

    def has(self, need: str) -> bool:
        if need == "batch":
            return self.outputs is not None
        present = {
            "history": isinstance(self._given, Tensor),
            "step": self.step is not None,
            "loss": self.loss is not None,
            "labels": self.labels is not None,
            "durations": self.durations is not None,
            "rates": self.sample_rate is not None and self.expected_sample_rate is not None,
            "model": self.model is not None,
            "device": self.device is not None,
        }
        return present[need]

    def _layout(self, given: Tensor) -> str:
        batch, shape = len(self.target_lengths), tuple(given.shape)
        if not given.is_floating_point() or given.ndim not in (2, 3) or 0 in shape or batch == 0:
            raise EvidenceError(
                f"log_probs is {str(given.dtype).removeprefix('torch.')} of shape {shape}; expected real numbers of "
                "shape (T, B, V): frames, utterances, tokens, none of them 0."
            )
        if given.ndim == 2:
            shape = (shape[0], 1, shape[1])
        if len(self.input_lengths) != batch:
            raise EvidenceError(
                f"There are {len(self.input_lengths)} input lengths and {batch} target lengths; expected one of each "
                "for every utterance."
            )
        if shape[1] == batch:
            return "(T, B, V)"
        if shape[0] == batch:
            longest = int(self.input_lengths.max())
            return "(B, V, T)" if shape[1] < longest <= shape[2] else "(B, T, V)"
        raise EvidenceError(
            f"log_probs has shape {shape} and there are {batch} target lengths; expected (T, B, V), frames, then "
            f"utterances, then tokens, with {batch} in the middle. Permute it, or pass the lengths of the same batch."
        )

    def _padded(self, targets: Tensor) -> Tensor:
        counts = self.target_lengths.clamp_min(0)
        if targets.ndim == 1 and len(targets) != int(counts.sum()):
            raise EvidenceError(
                f"targets holds {len(targets)} tokens in one row, but target_lengths adds up to {int(counts.sum())}; "
                "expected the two to be equal, or targets padded to (B, L)."
            )
        if targets.ndim == 1:
            targets = torch.nn.utils.rnn.pad_sequence(targets.split(counts.tolist()), batch_first=True)  # (B, L)
        if targets.ndim != 2 or len(targets) != self.utterances:
            raise EvidenceError(
                f"targets has shape {tuple(targets.shape)}; expected ({self.utterances}, L), a row for every utterance, "
                "or all of them in one row."
            )
        return targets if targets.shape[1] else targets.new_zeros(self.utterances, 1)  # no text at all

    def _check(self) -> None:
        if not 0 <= self.blank < self.vocabulary:
            raise EvidenceError(f"blank is {self.blank}, but log_probs has tokens 0 to {self.vocabulary - 1}.")
        if int(self.target_lengths.max()) > self.targets.shape[1]:
            raise EvidenceError(
                f"target_lengths reaches {int(self.target_lengths.max())}, but targets has {self.targets.shape[1]} columns."
            )
        if self.labels is not None and len(self.labels) != self.vocabulary:
            raise EvidenceError(
                f"There are {len(self.labels)} labels, but log_probs has {self.vocabulary} tokens; expected the text of "
                "every output, the blank's included."
            )
        counts = {"durations": self.durations, "texts": self.texts, "ids": self.ids}
        for name, given in counts.items():
            if given is not None and len(given) != self.utterances:
                raise EvidenceError(
                    f"There are {len(given)} {name} for {self.utterances} utterances; expected one for each."
                )

    @cached_property
    def history(self) -> History | None:
        return history_of(self._given) if isinstance(self._given, Tensor) else None

    @cached_property
    def loss_history(self) -> History | None:
        return history_of(self._given_loss) if isinstance(self._given_loss, Tensor) else None

    @cached_property
    def labelled(self) -> Tensor:
        """(B, L) bool: the tokens that belong to a target."""
        return torch.arange(self.targets.shape[1])[None, :] < self.target_lengths[:, None]

    @cached_property
    def heard(self) -> Tensor:
        """(T, B) bool: the frames that belong to an utterance."""
        lengths = self.input_lengths.to(self.log_probs.device)
        return torch.arange(self.frames, device=lengths.device)[:, None] < lengths[None, :]

    @cached_property
    def totals(self) -> Tensor:
        """(T, B): logsumexp over the tokens, 0 for log-probabilities."""
        return self.log_probs.logsumexp(-1)

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.log_probs, self.totals, self.heard)

    @property
    def holds_log_probabilities(self) -> bool:
        return self.kind in (Kind.LOG_PROBABILITIES, Kind.ROUNDED, Kind.NEARLY)

    @cached_property
    def best(self) -> tuple[Tensor, Tensor]:
        """(T, B) the greatest value of each frame, and (T, B) the token that has it."""
        return tuple(self.log_probs.max(-1))

    @cached_property
    def least(self) -> Tensor:
        """(T, B): the smallest value of each frame."""
        return self.log_probs.amin(-1)

    @cached_property
    def mean_posterior(self) -> Tensor:
        """(V,): the mean over all frames of all utterances."""
        weights = self.heard.to(self.log_probs.dtype) / self.heard.sum().clamp_min(1)  # (T, B)
        posteriors = self.log_probs.exp().masked_fill(~self.heard[..., None], 0)  # padding may hold anything, NaN too
        return torch.einsum("tbv,tb->v", posteriors, weights)

    @cached_property
    def blank_rate(self) -> float | None:
        return float((self.best[1] == self.blank)[self.heard].float().mean()) if bool(self.heard.any()) else None

    @cached_property
    def available(self) -> Tensor:
        """(B,): the frames that the loss may use, never more than there are."""
        return self.input_lengths.clamp(0, self.frames)

    @cached_property
    def needed(self) -> Tensor:
        """(B,): the fewest frames that hold each target."""
        return ctc.frames_needed(self.targets, self.target_lengths)

    @cached_property
    def infeasible(self) -> Tensor:
        """(B,) bool: more needed than available."""
        return self.needed > self.available

    @cached_property
    def spelled(self) -> Tensor:
        """(B,) bool: every label is a token that log_probs has."""
        outside = ((self.targets < 0) | (self.targets >= self.vocabulary)) & self.labelled  # (B, L)
        return ~outside.any(1) & (self.target_lengths >= 1)

    @cached_property
    def computable(self) -> Tensor:
        """(B,) bool: the utterances for which a CTC loss exists."""
        return self.spelled & ~self.infeasible & (self.input_lengths >= 1)

    @cached_property
    def losses(self) -> Tensor:
        """(B,) nats an utterance, as torch computes them on these values; NaN where there is none, inf where none fits."""
        losses = torch.full((self.utterances,), torch.nan, dtype=torch.float64)
        losses[self.infeasible] = torch.inf
        losses[self.computable] = self.ctc(self.log_probs[:, self.computable.to(self.log_probs.device)], self.blank)
        return losses

    def ctc(self, log_probs: Tensor, blank: int, shift: int = 0) -> Tensor:
        """log_probs (T, B', V) of the computable utterances -> (B',) on the CPU, for targets whose ids are shifted."""
        rows = self.computable
        with torch.no_grad():
            losses = F.ctc_loss(
                log_probs,
                (self.targets[rows] + shift).clamp(0, self.vocabulary - 1).to(log_probs.device),
                self.available[rows],
                self.target_lengths[rows],
                blank=blank,
                reduction="none",
            )
        return losses.double().cpu()

    @cached_property
    def expected_initial_losses(self) -> list[float]:
        """Nats, of each computable utterance: that of uniform log-probabilities."""
        rows, repeats = self.computable, self.needed - self.target_lengths
        columns = zip(self.available[rows].tolist(), self.target_lengths[rows].tolist(), repeats[rows].tolist(), strict=True)
        return [ctc.expected_initial_loss(*utterance, self.vocabulary) for utterance in columns]

    @cached_property
    def characters(self) -> int:
        """Labels of the computable utterances."""
        return int(self.target_lengths[self.computable].sum())

    @cached_property
    def ignores_audio_ratio(self) -> float | None:
        """The loss, divided by that of the mean posterior said in every frame."""
        if not bool(self.computable.any()):
            return None
        floor = torch.finfo(self.log_probs.dtype).tiny
        same = self.mean_posterior.clamp_min(floor).log().expand(self.frames, int(self.computable.sum()), -1)  # (T, B', V)
        deaf = float(self.ctc(same, self.blank).sum())
        return float(self.losses[self.computable].sum()) / deaf if deaf > 0 else None

    @cached_property
    def inputs(self) -> Inputs | None:
        return None if self.batch is None else Inputs.of(self.batch, self.utterances, self.durations)

    @cached_property
    def outputs(self) -> Tensor | None:
        """(T', B, V): what the model returns for the batch in eval mode; None where it cannot be called with it."""
        return self._run(self.inputs, self.utterances)

    def rerun(self, utterance: int, trimmed: bool = False) -> Tensor | None:
        """(T', 1, V): the same for one utterance, with the batch's padding or without."""
        return self._run(self.inputs.alone(utterance, trimmed), 1)

    @cached_property
    def louder_outputs(self) -> Tensor | None:
        """(T', B, V): what the model returns when its last layer says the same a hundred times as loud."""
        with louder(self.model, self.vocabulary, 100.0) as possible:
            return self._run(self.inputs, self.utterances) if possible else None

    def _run(self, inputs: Inputs | None, utterances: int) -> Tensor | None:
        if inputs is None or self.model is None:
            return None
        try:
            return inputs.run(self.model, self.vocabulary, utterances)
        except Exception:  # a stranger's model may raise anything; what follows says that it could not be called
            return None

    @property
    def half_model(self) -> bool:
        return any(parameter.dtype in HALVES for parameter in self.model.parameters())

    @cached_property
    def true_lengths(self) -> Tensor | None:
        """(B,): what the model's own output_lengths() makes of the lengths in the batch; None where there is no such
        thing."""
        given = self.inputs.lengths if self.inputs else None
        if given is None or not hasattr(self.model, "output_lengths"):
            return None
        try:
            lengths = as_counts(self.model.output_lengths(given), "output_lengths()").reshape(-1)
        except Exception:  # a stranger's function of that name may want or be anything
            return None
        return lengths if len(lengths) == self.utterances else None
