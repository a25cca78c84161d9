from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

import trainonce.methods.data
import trainonce.methods.probe
from trainonce.methods import registry
from trainonce.methods.registry import method, methods, probe_of
from trainonce.sites import Site


def test_a_method_is_found_by_its_name_and_site() -> None:
    found = methods(Site.DATA)
    assert {"memorization", "contamination", "knowledge", "backdoor", "placebo"} <= set(found)
    assert methods(Site.PROBE).keys().isdisjoint(found)
    assert found["memorization"].cls is trainonce.methods.data.Memorization


def test_every_method_says_what_it_does() -> None:
    for name, known in methods().items():
        assert known.summary.endswith(".") or known.summary.endswith(","), name
        if known.probe:
            assert probe_of(known).outcomes, name


def test_a_name_that_is_no_method_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="Memorisation"):
        trainonce.methods.data.Memorisation  # noqa: B018
    with pytest.raises(AttributeError):
        trainonce.methods.probe.Memorization  # noqa: B018


def test_two_methods_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Memorization:
        """Another one."""

    with pytest.raises(ValueError, match="two methods are named 'memorization'"):
        method(site=Site.DATA)(Memorization)


def test_settings_are_fields() -> None:
    class NotAData:
        """No data class."""

    with pytest.raises(TypeError, match="must be a data class"):
        method(site=Site.DATA)(NotAData)


def test_another_package_adds_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Toy:
        """Does nothing."""

    class Entry(EntryPoint):
        def load(self) -> type:
            return method(site=Site.DATA)(Toy)

    entry = Entry("toy", "toy:Toy", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [entry] if group == entry.group else []
    )
    registry._scan.cache_clear()
    try:
        assert methods()["toy"].summary == "Does nothing."
    finally:
        monkeypatch.undo()
        registry._scan.cache_clear()
