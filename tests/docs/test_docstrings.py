"""Every public name says what it is, by the rules of numpydoc."""

import inspect
from collections.abc import Iterator

import pytest

import skvae

SECTIONS = ("Parameters", "Attributes", "Returns", "Yields")


def documented(name: str) -> Iterator[tuple[str, object]]:
    value = getattr(skvae, name)
    yield name, value
    if inspect.isclass(value):
        for member, function in inspect.getmembers(value):
            own = getattr(inspect.unwrap(function), "__module__", None) or ""
            is_function = callable(function) or isinstance(function, property)
            if member[0] != "_" and is_function and own.startswith("skvae"):
                yield f"{name}.{member}", function


@pytest.mark.parametrize("name", skvae.__all__)
def test_everything_public_has_a_docstring(name: str) -> None:
    for full_name, value in documented(name):
        text = inspect.getdoc(value) or ""
        assert text.strip(), full_name
        assert text.splitlines()[0].endswith("."), full_name


@pytest.mark.parametrize("name", skvae.__all__)
def test_parameters_are_documented(name: str) -> None:
    """Those of a class in its own docstring, under the names of its `__init__`."""
    value = getattr(skvae, name)
    text = inspect.getdoc(value) or ""
    parameters = [
        parameter
        for parameter in inspect.signature(value).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    for parameter in parameters:
        heads = [line for line in text.splitlines() if not line.startswith(" ")]
        assert any(
            parameter.name in head.partition(" : ")[0].replace(",", " ").split()
            for head in heads
        ), f"{name}: {parameter.name}"
