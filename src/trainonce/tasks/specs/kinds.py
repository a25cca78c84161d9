"""The spec of any job, whichever its kind."""

from __future__ import annotations

from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import Model
from trainonce.tasks.trial import TrialSpec

OfRun = Model | MeasureSpec | DecideSpec
"""A job behind which a training run stands."""
Spec = OfRun | TrialSpec
"""A job of any kind."""
