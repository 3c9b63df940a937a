"""Pack tables into small files, and unpack them.

The table is a file of comma-separated values, or of Parquet, by its name. The packed
file has the density, too, so that whoever has skvae can unpack it::

    python -m skvae.compression pack table.parquet table.skz
    python -m skvae.compression unpack table.skz table.parquet

Tables come back with the same cells; the text of a CSV file may have other digits or
quotes for them.
"""

import argparse
from pathlib import Path
from typing import Any

from skvae.compression.files import pack, unpack
from skvae.persistence import load


def read(path: str) -> Any:
    """Read a table by the name of its file."""
    pandas = _pandas()
    if path.endswith(".parquet"):
        return pandas.read_parquet(path)
    return pandas.read_csv(path)


def write(table: Any, path: str) -> None:
    """Write a table by the name of its file."""
    frame = _pandas().DataFrame(table)
    if path.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Files of tables need pandas, which is not installed: "
            "pip install 'skvae[parquet]'."
        ) from error
    return pandas


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m skvae.compression",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write a table to a packed file")
    packing.add_argument("table", help="a .csv or .parquet file")
    packing.add_argument("packed", help="the file to write")
    packing.add_argument(
        "--density", help="a file of skvae.save; by default, one is fitted to the table"
    )
    unpacking = commands.add_parser("unpack", help="write the table of a packed file")
    unpacking.add_argument("packed", help="a file that pack has written")
    unpacking.add_argument("table", help="a .csv or .parquet file to write")
    chosen = parser.parse_args(arguments)
    if chosen.command == "unpack":
        write(unpack(chosen.packed), chosen.table)
        return
    density = None if chosen.density is None else load(chosen.density)
    before = Path(chosen.table).stat().st_size
    sizes = pack(read(chosen.table), chosen.packed, density)
    print(
        f"{before:,} bytes became {sizes.total:,}: {sizes.model:,} of the density, and "
        f"{sizes.rows:,} of the rows"
    )


if __name__ == "__main__":
    main()
