"""The smaller runs that stand in for a large one: a ladder of sizes, or one small model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.study.problems import Place, StudyError
from trainonce.study.questions import Arm
from trainonce.study.recipe import Recipe, model_of
from trainonce.study.recipe_keys import ModelKeys, RungKeys
from trainonce.study.yaml_lines import Document


def ladder_arms(
    document: Document,
    place: Place,
    rungs: Sequence[RungKeys],
    arms: Sequence[Arm],
    base: Recipe | None,
) -> tuple[Arm, ...]:
    """A run with the base recipe for each size of a ladder.

    Args:
        document: the study.
        place: where the ladder stands.
        rungs: what it says.
        arms: of the question.
        base: the recipe, None where it cannot be read.

    Raises:
        StudyError: for several arms, models that do not start untrained, and sizes that are twice.
    """
    if base is None or not arms:
        return ()
    if len(arms) > 1:
        right = f"one arm, which the ladder leads to; this question has {len(arms)}: ask apart"
        raise StudyError([document.problem(place, None, right)])
    large, own = decoder(arms[0].recipe.model), decoder(base.model)
    if large is None or own is None:
        right = (
            "belongs to decoders by size or numbers, which start untrained: what a pretrained "
            "model has seen before is on no ladder"
        )
        raise StudyError([document.problem(place, None, right)])
    found: dict[DecoderSettings, Arm] = {}
    problems = []
    for index, keys in enumerate(rungs):
        at = (*place, index)
        settings = _settings(keys, large)
        shown = keys.name or (f"{100 * keys.share:g}%" if keys.share else None)
        if settings is None:
            right = f"a size ({', '.join(SIZES)}), the numbers of a decoder, or a share"
            problems.append(document.problem(at, shown, right))
        elif settings == own:
            right = "another size: the base run, which costs nothing more, is on the ladder anyway"
            problems.append(document.problem(at, shown, right))
        elif settings in found:
            right = f"different sizes: {found[settings].label} is there twice"
            problems.append(document.problem(at, shown, right))
        else:
            recipe = replace(base, model=settings)
            found[settings] = Arm(label=_label(settings, large), recipe=recipe, since=0)
    if problems:
        raise StudyError(problems)
    return tuple(found.values())


def small_arm(document: Document, keys: ModelKeys, base: Recipe | None) -> Arm | None:
    """The run of a small model with the base recipe; None where that cannot be read."""
    if base is None:
        return None
    model = model_of(keys, document.file.parent)
    settings = decoder(model)
    label = str(model)
    if settings and isinstance(model, DecoderSettings):
        label = f"width {settings.width}, layers {settings.layers}, heads {settings.heads}"
    return Arm(label=label, recipe=replace(base, model=settings or model), since=0)


def decoder(model: str | DecoderSettings) -> DecoderSettings | None:
    """The numbers of a model of ours, None for one of Hugging Face."""
    return model if isinstance(model, DecoderSettings) else SIZES.get(model)


def _settings(keys: RungKeys, large: DecoderSettings) -> DecoderSettings | None:
    return decoder(keys.resolved()) if keys.share is None else narrower(large, keys.share)


def narrower(large: DecoderSettings, share: float) -> DecoderSettings:
    """``large`` with a share of its width, rounded so that its heads divide it evenly."""
    unit = 2 * large.heads
    width = max(1, round(share * large.width / unit)) * unit
    hidden = large.hidden and max(1, round(large.hidden * width / large.width))
    return replace(large, width=width, hidden=hidden)


def _label(settings: DecoderSettings, large: DecoderSettings) -> str:
    """What differs from the arm's model; the width in any case."""
    own, other = asdict(settings), asdict(large)
    told = [f"{name} {own[name]}" for name in own if name != "width" and own[name] != other[name]]
    return ", ".join([f"width {settings.width}", *told])
