"""Doses assigned at random, in equal numbers: the randomization that the analysis rests on."""

from __future__ import annotations

from dataclasses import dataclass

from trainonce.sites import SettingError
from trainonce.stream.stream import TokenStream


def check_doses(doses: tuple[int, ...]) -> None:
    """Refuse doses that no effect can be estimated from.

    Raises:
        SettingError: unless they are at least two different whole numbers with 0 among them.
    """
    if any(dose < 0 for dose in doses):
        raise SettingError("doses", f"a dose is a number of copies, 0 or more, not {min(doses)}")
    if len(set(doses)) != len(doses):
        raise SettingError("doses", f"a dose stands twice in {list(doses)}")
    if 0 not in doses:
        raise SettingError("doses", "dose 0 is missing: the others are compared with it")
    if len(doses) < 2:
        raise SettingError("doses", "a dose beside 0 is needed, to compare with it")


def check_at_least(least: int, **numbers: int) -> None:
    """Refuse numbers below ``least``.

    Raises:
        SettingError: naming the first.
    """
    for name, number in numbers.items():
        if number < least:
            raise SettingError(name, f"must be at least {least}, not {number}")


def assign(stream: TokenStream, kind: str, count: int, doses: tuple[int, ...]) -> list[int]:
    """A dose for each of ``count`` items of one kind: equal numbers of each, shuffled.

    Where ``count`` is no multiple of the number of doses, the first doses get one item more.

    Raises:
        SettingError: when there are fewer than two items a dose, so that no spread can be seen.
    """
    if count < 2 * len(doses):
        raise SettingError(
            "doses",
            f"{count} items are too few for {len(doses)} doses: each dose needs at least 2",
        )
    ordered = sorted(doses)
    balanced = [ordered[index % len(ordered)] for index in range(count)]
    shuffled = stream.random(f"doses of {kind}").permutation(balanced)
    return [int(dose) for dose in shuffled]


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """What one item of a kind was dealt.

    Attributes:
        kind: the stratum: the items' kind, with the window where there are several.
        dose: how many copies are inserted.
        window: the shares of the question's window between which they are read.
    """

    kind: str
    dose: int
    window: tuple[float, float]


def deal(
    stream: TokenStream, kind: str, count: int, doses: tuple[int, ...], windows: int = 1
) -> list[Dealt]:
    """A window for each of ``count`` items of one kind, and a dose within it, both at random.

    Windows are equal parts of the question's window and get equal numbers of items, the first ones
    one more where it does not come out even. So "when" is randomized as "how often" is.

    Raises:
        SettingError: when there are fewer than two items a dose and window.
    """
    if windows == 1:
        whole = assign(stream, kind, count, doses)
        return [Dealt(kind=kind, dose=dose, window=(0.0, 1.0)) for dose in whole]
    own = stream.random(f"windows of {kind}").permutation(count) % windows
    dealt: dict[int, Dealt] = {}
    for number in range(windows):
        name = f"{kind}, window {number + 1} of {windows}"
        inside = [index for index in range(count) if own[index] == number]
        window = (number / windows, (number + 1) / windows)
        for index, dose in zip(inside, assign(stream, name, len(inside), doses), strict=True):
            dealt[index] = Dealt(kind=name, dose=dose, window=window)
    return [dealt[index] for index in range(count)]


def check_windows(windows: int) -> None:
    """Refuse a number of windows that cannot be told apart.

    Raises:
        SettingError: unless it is 1 to 9.
    """
    check_at_least(1, windows=windows)
    if windows > 9:
        raise SettingError("windows", f"must be at most 9, not {windows}")
