from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainonce.models.build import HuggingFaceModel, build
from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.models.layers import layers, recompute

SHAPE = DecoderSettings(width=32, layers=3, heads=4, kv_heads=2)
TOKENS_BT = torch.randint(50, (4, 24), generator=torch.Generator().manual_seed(0))


def ours() -> nn.Module:
    return build(SHAPE, vocabulary=50, seed=1)


def gpt2() -> nn.Module:
    """A Hugging Face model that draws random numbers while it trains."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=32, n_layer=3, n_head=4)
    assert config.resid_pdrop == 0.1
    return HuggingFaceModel(GPT2LMHeadModel(config))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
    )
    return HuggingFaceModel(LlamaForCausalLM(config))


MODELS = [ours, gpt2, llama]


def passed(model: nn.Module) -> tuple[Tensor, dict[str, Tensor], int]:
    """The loss, the gradients, and the bytes that are kept for the way back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.train()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_BTV = model(TOKENS_BT)
        loss = logits_BTV.logsumexp(-1).mean() - logits_BTV[..., 7].mean()
    loss.backward()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, sum(size for at, size in kept.items() if at not in own)


@pytest.mark.parametrize("fresh", MODELS)
def test_what_is_computed_twice_has_the_same_gradients_and_keeps_less(
    fresh: Callable[[], nn.Module],
) -> None:
    """To the last bit, dropout included."""
    loss, gradients, kept = passed(fresh())
    found_loss, found_gradients, found_kept = passed(recompute(fresh()))
    assert torch.equal(loss, found_loss)
    assert gradients.keys() == found_gradients.keys()
    for name, gradient in gradients.items():
        assert torch.equal(gradient, found_gradients[name]), name
    assert found_kept < kept / 2


@pytest.mark.parametrize("fresh", MODELS)
def test_names_and_layers_are_as_before(fresh: Callable[[], nn.Module]) -> None:
    model = fresh()
    names = list(model.state_dict())
    assert len(layers(model)) == 3
    assert list(recompute(model).state_dict()) == names
    assert len(layers(model)) == 3


def test_layers_are_the_blocks_of_our_decoder() -> None:
    model = ours()
    assert isinstance(model, Decoder)
    assert layers(model) == list(model.blocks)


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear keeps no list of layers"):
        recompute(nn.Linear(2, 2))
