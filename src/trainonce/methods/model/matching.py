"""What model methods share: finding layers by patterns over names, freezing, attaching.

Shape suffixes: O outputs, I inputs.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainonce.sites import SettingError

HEADS = (
    "head",
    "*.head",
    "*lm_head",
    "*classifier*",
    "*score",
    "*pooler*",
)
"""Names under which a model keeps what is of its task alone, and not of what it has learned."""
ATTENTION_OUT = (
    "*attention.out",
    "*attn.c_proj",
    "*attn.o_proj",
    "*attention.o_proj",
    "*attention.output.dense",
)
"""The last layer of an attention: ours, GPT-2's, Llama's, ViT's and BERT's."""
FEED_FORWARD_OUT = (
    "*feed_forward.down",
    "*mlp.c_proj",
    "*mlp.down_proj",
    "*mlp.fc2",
    "*[0-9].output.dense",
)
"""The last layer of a feed-forward, in the same order."""

Hook = Callable[[Any, Any, Any], Any]


def is_linear(layer: nn.Module) -> bool:
    """Whether it is a matrix and a bias: `torch.nn.Linear`, or the ``Conv1D`` of GPT-2."""
    return isinstance(layer, nn.Linear) or is_transposed(layer)


def is_transposed(layer: nn.Module) -> bool:
    """Whether it is a ``Conv1D`` of transformers, whose weight is ``(I, O)``."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf")


def is_norm(layer: nn.Module) -> bool:
    """Whether it is a normalization with a weight a channel, torch's or another package's."""
    weight = getattr(layer, "weight", None)
    named = type(layer).__name__.endswith(("Norm", "Norm1d", "Norm2d", "Norm3d"))
    return named and isinstance(weight, Tensor) and weight.ndim == 1


def shape(layer: nn.Module) -> tuple[int, int]:
    """Outputs and inputs ``(O, I)`` of a linear layer."""
    first, second = layer.weight.shape  # type: ignore[misc]
    return (second, first) if is_transposed(layer) else (first, second)


def matched(
    model: nn.Module,
    layers: Iterable[str],
    skip: Iterable[str] = (),
    kind: Callable[[nn.Module], bool] = is_linear,
    what: str = "linear layer",
) -> dict[str, nn.Module]:
    """The layers of ``model`` by name.

    A layer that shares its weight with another one (an output head tied to the embedding) is left
    out, since what changes it would change the other.

    Args:
        model: in which to look.
        layers: patterns as of file names, over dotted names; one of them must match.
        skip: patterns of names that are left out.
        kind: which modules are asked for.
        what: such a module in words, for the message.

    Raises:
        ValueError: when there is none, naming the nearest names.
    """
    shared = _shared(model)
    known = {
        name: layer
        for name, layer in model.named_modules()
        if kind(layer) and id(getattr(layer, "weight", None)) not in shared
    }
    found = {
        name: layer for name, layer in known.items() if _any(name, layers) and not _any(name, skip)
    }
    if not found:
        raise ValueError(
            f"{_listed(layers)} without {_listed(skip)} matches no {what} of "
            f"{type(model).__name__}{_nearest(layers, known)}"
        )
    return found


def freeze(model: nn.Module, trained: Iterable[str] = ()) -> None:
    """Let nothing of ``model`` want a gradient but the parameters that ``trained`` names.

    Args:
        model: changed in place.
        trained: patterns over dotted names of parameters; each must match one.

    Raises:
        ValueError: when one matches none, naming the nearest names.
    """
    parameters = dict(model.named_parameters())
    for pattern in trained:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ValueError(
                f"{pattern!r} matches no parameter of {type(model).__name__}"
                f"{_nearest([pattern], parameters)}"
            )
    for name, parameter in parameters.items():
        parameter.requires_grad_(_any(name, trained))


def attach(layer: nn.Module, name: str, part: nn.Module, hook: Hook) -> None:
    """Make ``part`` a child of ``layer``, and let ``hook`` change what the layer returns.

    Names and types of what is there stay, so that a checkpoint of the plain model still loads.

    Raises:
        ValueError: when the layer has such a part.
    """
    if hasattr(layer, name):
        raise ValueError(f"{type(layer).__name__} has a part {name!r} already")
    layer.add_module(name, part)
    layer.register_forward_hook(hook)


def detach(layer: nn.Module, name: str, hook: Hook) -> None:
    """Undo `attach`."""
    delattr(layer, name)
    # By the function itself and not by the handle: a handle does not survive a deep copy.
    for key in [key for key, own in layer._forward_hooks.items() if own is hook]:
        del layer._forward_hooks[key]


def replace(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """``model`` with ``layer`` under ``name``; the layer itself where the name is empty."""
    if not name:
        return layer
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, layer)
    return model


def computed(model: nn.Module, kind: type[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Layers of ``model`` with a tensor that a parametrization of ``kind`` computes, and its name.

    Args:
        model: in which to look.
        kind: of the parametrization, the first of the tensor's.
    """
    return [
        (layer, tensor)
        for layer in model.modules()
        if parametrize.is_parametrized(layer)
        for tensor, parts in layer.parametrizations.items()  # type: ignore[union-attr, operator]
        if isinstance(parts[0], kind)
    ]


def fixed(layer: nn.Module, name: str, value: Tensor) -> None:
    """Make a tensor that a parametrization computes a parameter again, of this value."""
    # A deep copy shares the class that a parametrization gave its layer, and torch would take the
    # tensor from that class: from the layer that was copied too.
    kind = type(layer)
    own = {key: one for key, one in vars(kind).items() if key not in ("__dict__", "__weakref__")}
    layer.__class__ = type(kind.__name__, kind.__bases__, own)
    parametrize.remove_parametrizations(layer, name, leave_parametrized=False)
    wanted = getattr(layer, name).requires_grad
    setattr(layer, name, nn.Parameter(value.detach().clone(), wanted))


def like(layer: nn.Module) -> dict[str, Any]:
    """Device and type of a layer's weight, for tensors that stand beside it."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return {"device": weight.device, "dtype": weight.dtype}


def check_patterns(**fields: tuple[str, ...] | str) -> None:
    """Refuse one text where several patterns are asked for."""
    for field, patterns in fields.items():
        if isinstance(patterns, str) or not all(patterns):
            raise SettingError(field, f"patterns over names such as ('*.query',), not {patterns!r}")


def check_range(
    field: str, value: float, low: float, high: float = float("inf"), *, open_low: bool = False
) -> None:
    """Refuse a number outside ``low`` to ``high``; an infinite end never counts."""
    above = value > low if open_low else value >= low
    if not (above and value <= high and abs(value) < float("inf")):
        first = f"above {low:g}" if open_low else f"from {low:g}"
        last = "on" if high == float("inf") else f"to {high:g}"
        raise SettingError(field, f"a number {first} {last}, not {value}")


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _shared(model: nn.Module) -> set[int]:
    """Ids of parameters that stand under several names."""
    seen = Counter(id(one) for _, one in model.named_parameters(remove_duplicate=False))
    return {one for one, times in seen.items() if times > 1}


def _listed(patterns: Iterable[str]) -> str:
    return ", ".join(patterns) or "nothing"


def _nearest(patterns: Iterable[str], names: Mapping[str, object]) -> str:
    close = [
        name
        for pattern in patterns
        for name in difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
    ]
    return f"; the nearest: {', '.join(dict.fromkeys(close))}" if close else ", which has none"
