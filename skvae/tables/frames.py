"""Data frames as output: pandas is imported only where a user asks for one."""

from types import ModuleType

__all__ = ["pandas_for_frames"]


def pandas_for_frames() -> ModuleType:
    """Return the module pandas; raise an ImportError with advice if it is missing."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_frame needs the package pandas: pip install pandas."
        ) from error
    return pandas
