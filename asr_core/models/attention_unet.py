"""The fast model: convolutions to 25 frames a second, attention at 12.5, and back up with a skip.

Most of the work is plain matrix products, which is what a CPU does best, in bfloat16 too. The inner layers run at half
the output rate, as in Zipformer (Yao et al. 2023, arXiv 2310.11230). A CTC loss on phones in the middle, whose
posteriors are fed back into the stream, is self-conditioned CTC (Nozaki and Komatsu 2021, arXiv 2104.02724).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_core.models.encoder import Encoded, Encoder
from asr_core.models.masking import frame_mask, strided_length
from asr_core.models.whisper_ctc import Dropout
from asr_core.phones import PHONES
from asr_core.settings import require_number, require_whole
from asr_core.text import MOST_TOKENS


@dataclass(frozen=True)
class AttentionUNetConfig:
    n_mels: int = 80
    vocabulary: int = 29
    channels: int = 16
    width: int = 256
    hidden: int = 512  # of a feed-forward block
    heads: int = 4
    inner_blocks: int = 8
    context: int = 64  # inner frames that attention sees to each side: 5.1 s, so long audio is never a new situation
    phones: int = len(PHONES) + 1  # outputs of the phone head: the blank is behind the phones
    phone_block: int = 4  # inner blocks before the phone head
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_whole(self, "n_mels", "channels", most=1_024)
        require_whole(self, "width", "hidden", "heads", "context", most=16_384)
        require_whole(self, "phones", least=len(PHONES) + 1, most=16_384)
        require_whole(self, "vocabulary", most=MOST_TOKENS)
        require_whole(self, "inner_blocks", most=64)
        require_whole(self, "phone_block", most=self.inner_blocks)
        require_number(self, "dropout", least=0, most=1)
        if self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}; it must be a multiple of twice the number of heads, {self.heads}.")


class FeedForward(nn.Module):
    """Norm, a linear map of three neighbouring frames, GELU, linear, and a skip: a width-3 convolution as one product."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(3 * width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T, 1) -> (B, T, D)."""
        normed = F.pad(self.norm(x) * mask, (0, 0, 1, 1))  # (B, T + 2, D); what lies past the end is zero, padded or not
        neighbours = torch.cat([normed[:, :-2], normed[:, 1:-1], normed[:, 2:]], dim=-1)  # (B, T, 3D)
        return x + self.contract(self.dropout(F.gelu(self.expand(neighbours))))


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions (Su et al. 2021, arXiv 2104.09864).

    Written as matrix products: scaled_dot_product_attention's backward is slower on a CPU at these lengths.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """x (B, T, D), rotation two (T, D / heads), bias (B, 1, T, T) added to the scores -> (B, T, D)."""
        batch, frames, width = x.shape
        qkv = self.query_key_value(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        query, key = rotate(query, rotation), rotate(key, rotation)
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias  # (B, H, T, T)
        mixed = scores.softmax(-1).to(value.dtype) @ value  # (B, H, T, D / H)
        return x + self.dropout(self.output(mixed.transpose(1, 2).reshape(batch, frames, width)))


def rotary_angles(frames: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, each (T, size): position t turns pair i of a head's channels by t / 10000^(2i / size)."""
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2, device=like.device) / size)  # (size / 2,)
    angles = torch.arange(frames, device=like.device)[:, None] * frequencies.repeat(2)  # (T, size)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """x (..., T, size), turned pairwise by its position."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class AttentionUNet(Encoder):
    subsampling = 4

    def __init__(self, config: AttentionUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.phones = config.phones
        width, hidden, dropout = config.width, config.hidden, config.dropout
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, config.channels, 3, stride=2, padding=1),
                nn.Conv2d(config.channels, config.channels, 3, stride=2, padding=1),
            ]
        )
        self.projection = nn.Linear(config.channels * strided_length(config.n_mels, 4), width)
        self.entry = FeedForward(width, hidden, dropout)
        self.down = nn.Linear(2 * width, width)
        self.attentions = nn.ModuleList(Attention(width, config.heads, dropout) for _ in range(config.inner_blocks))
        self.feed_forwards = nn.ModuleList(FeedForward(width, hidden, dropout) for _ in range(config.inner_blocks))
        # Two phone frames for each inner frame: at 12.5 frames a second fast speech would not fit its phones.
        self.phone_norm = nn.LayerNorm(width)
        self.phone_head = nn.Linear(width, 2 * config.phones)
        self.phone_feedback = nn.Linear(2 * config.phones, width)
        self.up = nn.Linear(width, 2 * width)
        self.exit = FeedForward(width, hidden, dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocabulary)

    def output_lengths(self, lengths: Tensor | int) -> Tensor | int:
        return strided_length(strided_length(lengths))

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        padding = ~frame_mask(lengths, features.shape[-1])[:, None, None]
        x = features.masked_fill(padding, 0.0)  # (B, 1, M, T)
        for convolution in self.convolutions:
            lengths = strided_length(lengths)
            x = F.gelu(convolution(x))  # (B, C, M/2, T/2), then (B, C, M/4, T/4)
            x = x * frame_mask(lengths, x.shape[-1])[:, None, None]
        x = self.projection(x.flatten(1, 2).transpose(1, 2))  # (B, T', D)
        mask = frame_mask(lengths, x.shape[1])[..., None]  # (B, T', 1)
        x = self.entry(x, mask) * mask

        skip, frames = x, x.shape[1]
        x = F.pad(x, (0, 0, 0, frames % 2)).unflatten(1, (-1, 2)).flatten(2)  # (B, T'/2, 2D)
        x, phone_logits = self.inner(self.down(x), strided_length(lengths))
        x = self.up(x).unflatten(2, (2, -1)).flatten(1, 2)[:, :frames]  # (B, T', D)
        x = self.exit(x + skip, mask)
        return Encoded(self.head(self.norm(x)), lengths, phone_logits[:, :frames])

    def inner(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, D) at half the output rate, lengths (B,) -> x (B, N, D), phone logits (B, 2N, P)."""
        frames = x.shape[1]
        mask = frame_mask(lengths, frames)  # (B, N)
        position = torch.arange(frames, device=x.device)
        near = (position[:, None] - position[None, :]).abs() <= self.config.context  # (N, N)
        # Not -inf: a padded frame that sees no real one still needs a finite softmax. exp(-1e4) is zero all the same.
        bias = (~(near & mask[:, None, None, :])) * -1e4  # (B, 1, N, N)
        rotation = rotary_angles(frames, x.shape[-1] // self.config.heads, x)
        for block, (attention, feed_forward) in enumerate(zip(self.attentions, self.feed_forwards, strict=True), 1):
            x = feed_forward(attention(x, rotation, bias), mask[..., None])
            if block == self.config.phone_block:
                phone_logits = self.phone_head(self.phone_norm(x)).unflatten(2, (2, -1)).flatten(1, 2)  # (B, 2N, P)
                posteriors = phone_logits.float().softmax(-1).unflatten(1, (-1, 2)).flatten(2)  # (B, N, 2P)
                x = x + self.phone_feedback(posteriors)
        return x, phone_logits
