"""A Llama-style decoder: RMSNorm, rotary positions, SwiGLU, grouped-query attention.

Shape suffixes: B batch, T tokens, D width, H query heads, G key and value heads, K head width,
F hidden width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.models.barrier import within_documents

EPSILON = 1e-5
"""What RMSNorm adds to the mean square, so that it never divides by zero."""


@dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """The shape of a decoder.

    Attributes:
        width: of the residual stream.
        layers: how many blocks.
        heads: query heads.
        kv_heads: key and value heads, a divisor of ``heads``; the same number when left out.
        hidden: width of the SwiGLU; 8/3 of ``width``, rounded up to a multiple of 32, when left
            out (Shazeer 2020, arXiv 2002.05202).
        rope_base: base of the rotary frequencies (Su et al. 2021, arXiv 2104.09864).
        tied: whether input and output embeddings are one matrix.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int | None = None
    hidden: int | None = None
    rope_base: float = 10_000.0
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        for name in ("width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"width {self.width} must be an even multiple of heads {self.heads}, "
                "so that rotary positions can turn pairs"
            )
        if self.heads % self.key_value_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")

    @property
    def key_value_heads(self) -> int:
        """Key and value heads, as built."""
        return self.kv_heads or self.heads

    @property
    def hidden_width(self) -> int:
        """Width of the SwiGLU, as built."""
        return self.hidden or math.ceil(self.width * 8 / 3 / 32) * 32


SIZES: dict[str, DecoderSettings] = {
    "nano": DecoderSettings(width=128, layers=2, heads=4, kv_heads=2),
    "micro": DecoderSettings(width=192, layers=4, heads=6, kv_heads=2),
    "mini": DecoderSettings(width=256, layers=6, heads=8, kv_heads=4),
    "small": DecoderSettings(width=512, layers=8, heads=8, kv_heads=4),
    "base": DecoderSettings(width=768, layers=12, heads=12, kv_heads=4),
}
"""Sizes by name: 0.4M, 1.6M, 4.4M, 23M and 76M parameters beside the embeddings."""


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245)."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.head = settings.width // settings.heads
        self.query = nn.Linear(settings.width, settings.heads * self.head, bias=False)
        self.key = nn.Linear(settings.width, settings.key_value_heads * self.head, bias=False)
        self.value = nn.Linear(settings.width, settings.key_value_heads * self.head, bias=False)
        self.out = nn.Linear(settings.heads * self.head, settings.width, bias=False)
        self.grouped = settings.key_value_heads != settings.heads

    def forward(
        self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask_B1TT: Tensor | None
    ) -> Tensor:
        """Mix tokens with those before them, or with those that the mask lets them see."""
        batch, length, _ = x_BTD.shape
        query_BHTK = self.query(x_BTD).view(batch, length, -1, self.head).transpose(1, 2)
        key_BGTK = self.key(x_BTD).view(batch, length, -1, self.head).transpose(1, 2)
        value_BGTK = self.value(x_BTD).view(batch, length, -1, self.head).transpose(1, 2)
        mixed_BHTK = F.scaled_dot_product_attention(
            rotate(query_BHTK, rotation),
            rotate(key_BGTK, rotation),
            value_BGTK,
            attn_mask=mask_B1TT,
            is_causal=mask_B1TT is None,
            enable_gqa=self.grouped,
        )
        out: Tensor = self.out(mixed_BHTK.transpose(1, 2).reshape(batch, length, -1))
        return out


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.gate = nn.Linear(settings.width, settings.hidden_width, bias=False)
        self.up = nn.Linear(settings.width, settings.hidden_width, bias=False)
        self.down = nn.Linear(settings.hidden_width, settings.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each token by itself."""
        out: Tensor = self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each normalized before and added to the residual stream."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(settings.width, eps=EPSILON)
        self.attention = Attention(settings)
        self.feed_forward_norm = nn.RMSNorm(settings.width, eps=EPSILON)
        self.feed_forward = FeedForward(settings)

    def forward(
        self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask_B1TT: Tensor | None
    ) -> Tensor:
        """One layer."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rotation, mask_B1TT)
        out: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return out


class Decoder(nn.Module):
    """Token ids ``(B, T)`` to logits ``(B, T, V)``.

    Attributes:
        settings: its shape.
        boundary: the token that opens a document, when a token may attend to its own document only;
            None when it may attend to all before it. Rotary positions are relative, so they run on
            through a sequence, and a document's logits are those of the document alone.
    """

    def __init__(
        self, settings: DecoderSettings, vocabulary: int, boundary: int | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.boundary = boundary
        # Not drawn here, as `initialize` draws all: drawing on the meta device loads a compiler.
        empty_VD = torch.empty(vocabulary, settings.width)
        self.embedding = nn.Embedding.from_pretrained(empty_VD, freeze=False)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.RMSNorm(settings.width, eps=EPSILON)
        self.head = nn.Linear(settings.width, vocabulary, bias=False)
        if settings.tied:
            self.head.weight = self.embedding.weight
        self._rotations: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def initialize(self, generator: torch.Generator) -> Decoder:
        """Draw all weights from ``generator``: normal, residual outputs scaled by depth."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                nn.init.ones_(parameter)
                continue
            scale = 0.02
            if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
                scale /= math.sqrt(2 * self.settings.layers)
            nn.init.normal_(parameter, std=scale, generator=generator)
        return self

    def operations(self, sequence: int) -> int:
        """Floating-point operations of a pass over one sequence: two a multiply-add.

        Those of the matrices, and of queries times keys and scores times values; all scores
        count, also those that the causal mask leaves out.
        """
        embedded = 0 if self.settings.tied else self.embedding.weight.numel()
        matrices = sum(p.numel() for p in self.parameters() if p.ndim > 1) - embedded
        attention = 2 * self.settings.layers * sequence * self.settings.width
        return 2 * sequence * (matrices + attention)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits of the token after each."""
        x_BTD = self.embedding(tokens_BT)
        rotation = self._rotation(tokens_BT.shape[1], tokens_BT.device)
        mask_B1TT = None if self.boundary is None else within_documents(tokens_BT, self.boundary)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotation, mask_B1TT)
        logits_BTV: Tensor = self.head(self.norm(x_BTD))
        return logits_BTV

    def _rotation(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if (length, device) not in self._rotations:
            head = self.settings.width // self.settings.heads
            frequency_K = self.settings.rope_base ** (
                -torch.arange(0, head, 2, device=device, dtype=torch.float32) / head
            )
            angle_TK = torch.outer(torch.arange(length, device=device).float(), frequency_K)
            angle_TK = torch.cat([angle_TK, angle_TK], dim=-1)
            self._rotations[length, device] = (angle_TK.cos(), angle_TK.sin())
        return self._rotations[length, device]


def rotate(x_BHTK: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pair (k, k + K/2) of each head by an angle that grows with the position."""
    cosine_TK, sine_TK = rotation
    first, second = x_BHTK.chunk(2, dim=-1)
    turned_BHTK = torch.cat([-second, first], dim=-1)
    return (x_BHTK * cosine_TK + turned_BHTK * sine_TK).to(x_BHTK.dtype)
