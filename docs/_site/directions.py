"""The published directions that the ledger re-tests: `python docs/_site/directions.py` prints them.

docs/validity.md has this table; `tests/docs/test_validity.py` misses what the results do not say.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainonce.papers.claims import Claim, claims
from trainonce.papers.results import Result, kept
from trainonce.report.ledger import OPEN
from trainonce.report.sentences import interval, number

HEAD = ("direction", "decided by", "our runs (95 % interval)", "which")


def directions() -> str:
    """A line for each claim that shares its paper with others, those of a paper side by side."""
    rows = [HEAD, *(_row(one, kept(one)) for one in claims().values() if not one.alone)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"{'| --- ' * len(HEAD)}|", *lines[1:]])


def _row(claim: Claim, result: Result | None) -> tuple[str, ...]:
    told = result.verdict.value if result else OPEN
    return f"`{claim.id}` {claim.says}", _decider(claim), _numbers(result), told


def _decider(claim: Claim) -> str:
    beside = f" beside {_listed(claim.against)}" if claim.against else ""
    return f"{_listed(claim.decides)}{beside}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _numbers(result: Result | None) -> str:
    if result is None:
        return ""
    found = result.decided
    if found.effect is None or found.low is None or found.high is None:
        return f"{found.outcome}: none"
    told = f"{found.outcome} {number(found.effect)} ({interval(found.low, found.high)})"
    return f"{told} from `{found.against}`" if found.against else told


if __name__ == "__main__":
    print(directions())
