"""Measurements as samples."""

from __future__ import annotations

import numpy as np
import polars as pl

from trainonce.analysis.effects import Sample
from trainonce.methods.registry import Outcome


def sample_of(rows: pl.DataFrame, outcome: Outcome) -> Sample:
    """Units in a fixed order, with seed and kind as the stratum that doses were dealt in."""
    ordered = rows.sort("seed", "kind", "unit")
    strata = ordered.select(pl.struct("seed", "kind").rank("dense").alias("stratum"))["stratum"]
    return Sample(
        values=ordered["value"].to_numpy(),
        doses=ordered["dose"].to_numpy(),
        strata=strata.cast(pl.Int64).to_numpy(),
        low=-np.inf if outcome.low is None else outcome.low,
        high=np.inf if outcome.high is None else outcome.high,
    )
