"""Which columns a question is about."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = ["column_numbers"]


def column_numbers(names: Sequence[str], columns: Any, argument: str) -> list[int]:
    """Return the numbers of columns that were named, or numbered.

    Parameters
    ----------
    names : sequence of str
        Names of all columns.
    columns : str, int or sequence of them
        What the user gave.
    argument : str
        What it was passed as.
    """
    single = isinstance(columns, (str, Integral))
    asked = [columns] if single else list(columns)
    numbers = []
    for each in asked:
        is_number = isinstance(each, Integral) and not isinstance(each, bool)
        if isinstance(each, str) and each in names:
            numbers.append(list(names).index(each))
        elif is_number and -len(names) <= each < len(names):
            numbers.append(int(each) % len(names))
        else:
            shown = ", ".join(map(repr, names[:10])) + (", …" * (len(names) > 10))
            raise ValueError(
                f"{argument} has {each!r}, which is no column. Allowed: an index below "
                f"{len(names)}, or a name: {shown}."
            )
    if not numbers:
        raise ValueError(f"{argument} is empty; name at least one column.")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{argument} has a column twice: {columns!r}.")
    return numbers
