"""pandas, which only those need who ask for a DataFrame."""

from types import ModuleType

__all__ = ["pandas_for_frames"]


def pandas_for_frames() -> ModuleType:
    """Return pandas; where it is not installed, an ImportError says what to do."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_frame needs the package pandas: pip install pandas."
        ) from error
    return pandas
