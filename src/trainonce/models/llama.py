"""Our decoder in Hugging Face's words: a Llama with the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from trainonce.models.decoder import EPSILON, Decoder

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

_NAMES = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "feed_forward_norm": "post_attention_layernorm",
}


def as_llama(
    decoder: Decoder, *, positions: int = 2048, end_of_text: int | None = None
) -> LlamaForCausalLM:
    """The Llama that computes the same logits from the same weights.

    The two agree on every formula (RMSNorm before each half of a block, rotary positions that turn
    the pairs (k, k + K/2), SwiGLU, grouped-query attention), so that only names differ.

    Args:
        decoder: whose weights are copied.
        positions: tokens that it was trained to read at once; Llama calls it
            ``max_position_embeddings`` and computes the same logits whatever it is.
        end_of_text: the token that ends a document, where generation stops.

    Raises:
        ImportError: when transformers is not installed.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = decoder.settings
    llama: LlamaForCausalLM = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=decoder.embedding.num_embeddings,
            hidden_size=settings.width,
            intermediate_size=settings.hidden_width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.key_value_heads,
            rms_norm_eps=EPSILON,
            rope_parameters={"rope_type": "default", "rope_theta": settings.rope_base},
            tie_word_embeddings=settings.tied,
            max_position_embeddings=positions,
            bos_token_id=None,
            eos_token_id=end_of_text,
        )
    ).eval()
    llama.load_state_dict(_renamed(decoder))
    return llama


def _renamed(decoder: Decoder) -> dict[str, Tensor]:
    state = {
        "model.embed_tokens.weight": decoder.embedding.weight,
        "model.norm.weight": decoder.norm.weight,
        "lm_head.weight": decoder.head.weight,
    }
    for index, block in enumerate(decoder.blocks):
        own = block.state_dict()
        state |= {
            f"model.layers.{index}.{theirs}.weight": own[f"{ours}.weight"]
            for ours, theirs in _NAMES.items()
        }
    return state
