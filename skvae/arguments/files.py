"""Files that users name."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replaced_as_a_whole"]


@contextmanager
def replaced_as_a_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside a file; when the block ends, what is there replaces the file.

    If the block raises, the file stays as it was, and nothing is left beside it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
