"""What the command lines of the benchmarks have in common."""

import argparse
import ast
from pathlib import Path
from typing import Any

from _data import set_names

__all__ = [
    "add_param",
    "add_sets",
    "benchmark_parser",
    "check_sets",
    "parse_param",
    "with_components",
]


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is a script's docstring, line breaks included."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_sets(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` and ``--sets``; without ``--data``, sets are scikit-learn's."""
    parser.add_argument("--data", type=Path, help="folder of npz files; else bundled")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="default: all")


def check_sets(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> argparse.Namespace:
    """Put all sets where none was named; exit with a message if one does not exist."""
    available = set_names(arguments.data)
    arguments.sets = arguments.sets or available
    if unknown := set(arguments.sets) - set(available):
        parser.error(f"no such sets: {sorted(unknown)}; there are {available}")
    return arguments


def add_param(parser: argparse.ArgumentParser) -> None:
    """Add ``--param KEY=VALUE ...``, which sets parameters of VAEDensity."""
    parser.add_argument(
        "--param",
        type=parse_param,
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="parameter of VAEDensity",
    )


def parse_param(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE`` and read the value as a Python literal where it is one."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def with_components(params: dict[str, Any]) -> dict[str, Any]:
    """Replace texts such as ``"MixturePrior(n_modes=8)"`` by the components."""
    # Imported here, because a parent process that measures its children's memory
    # must not load torch.
    import skvae

    def made(value: Any) -> Any:
        if not isinstance(value, str) or "(" not in value:
            return value
        call = ast.parse(value, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError(
                f"expected a component such as ELBO(beta=2), got {value!r}"
            )
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        return getattr(skvae, call.func.id)(
            *(ast.literal_eval(argument) for argument in call.args), **arguments
        )

    return {name: made(value) for name, value in params.items()}
