"""The largest share of domain data in continued pretraining that does the general loss no harm.

The critical mixture ratio (Gu et al. 2024, arXiv 2407.17467): of all shares with which, after so
many tokens, the general loss has risen by no more than a tolerance and the domain loss has fallen,
the largest. Losses follow ``a * R ** s + b`` in the share ``R``, and the ratio follows
``b1 * T ** s + b0`` in the tokens ``T``, so that short runs predict that of a long one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainonce.analysis.scaling.offset import OffsetPower, fit_offset_power
from trainonce.analysis.scaling.points import Floats, ScalingError


@dataclass(frozen=True, kw_only=True)
class Continued:
    """Runs of continued pretraining that differ in the share of domain data.

    Attributes:
        ratios: ``(r,)`` shares of domain data, above 0 and up to 1.
        tokens: ``(t,)`` read when the losses were measured.
        general: ``(r, t)`` losses on general text.
        domain: ``(r, t)`` losses on the domain.
        general_before: the general loss at the start.
        domain_before: the domain loss at the start.
    """

    ratios: Floats
    tokens: Floats
    general: Floats
    domain: Floats
    general_before: float
    domain_before: float


def critical_ratio(runs: Continued, at: int, tolerance: float) -> float:
    """The critical mixture ratio after ``runs.tokens[at]`` tokens.

    1 when even domain data alone does no harm.

    Raises:
        ScalingError: when no share is feasible: the general loss rises more than ``tolerance``
            with any, or the domain loss does not fall with the largest that is left.
    """
    general = fit_offset_power(runs.ratios, runs.general[:, at])
    domain = fit_offset_power(runs.ratios, runs.domain[:, at])
    allowed = runs.general_before + tolerance
    ratio = 1.0 if general.at(1.0) <= allowed else general.where(allowed)
    told = f"after {runs.tokens[at]:g} tokens, with a tolerance of {tolerance:g}"
    if not 0 < ratio <= 1:
        raise ScalingError(
            f"{told}, no share of domain data keeps the general loss: allow more, or train longer"
        )
    if domain.at(ratio) >= runs.domain_before:
        raise ScalingError(
            f"{told}, the share is {ratio:.3f}, and the domain loss does not fall with that"
        )
    return ratio


def fit_critical_ratio(runs: Continued, tolerance: float) -> OffsetPower:
    """How the critical mixture ratio grows with tokens, from where it was feasible.

    Raises:
        ScalingError: when it was at fewer than three moments.
    """
    tokens, ratios = [], []
    for at in range(len(runs.tokens)):
        try:
            ratio = critical_ratio(runs, at, tolerance)
        except ScalingError:
            continue
        tokens.append(float(runs.tokens[at]))
        ratios.append(ratio)
    if len(tokens) < 3:
        raise ScalingError(
            f"a critical ratio was found at {len(tokens)} of {len(runs.tokens)} moments, and its "
            "growth takes 3: measure more often, or allow a larger rise of the general loss"
        )
    return fit_offset_power(np.array(tokens), np.array(ratios))
