"""scikit-learn's callbacks (1.9 and later), and nothing in their place before."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["CallbackSupportMixin", "FitCallbacks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Supports no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method, behind one frame as scikit-learn's decorator does."""

        @wraps(method)
        def unmanaged(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return unmanaged


class FitCallbacks:
    """Calls an estimator's callbacks at the start, after every epoch, at the end.

    Parameters
    ----------
    estimator : estimator
        Being fitted.
    data : dict
        Training data as the hooks take it: ``X``, ``y``, ``metadata``.
    seen : dict
        What the fit has set already: attributes that say which columns it has seen.
    """

    def __init__(
        self, estimator: BaseEstimator, data: dict[str, Any], seen: dict[str, Any]
    ) -> None:
        self.estimator, self.data, self.seen = estimator, data, seen
        self.root: Any = None

    def begin(self, n_epochs: int) -> None:
        """Report the start of a training.

        Parameters
        ----------
        n_epochs : int
            Largest number of epochs.
        """
        if hasattr(self.estimator, "_init_callback_context"):
            self.root = self.estimator._init_callback_context(max_subtasks=n_epochs)
            self.root.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def after_epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Report one epoch; return whether a callback asks to stop.

        Parameters
        ----------
        fitted : callable
            Returns what the fit would leave behind if training ended now; called only
            if a callback asks.
        """
        if self.root is None:
            return False
        epoch = self.root.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        return bool(
            epoch.call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=lambda: {**self.seen, **fitted()},
                **self.data,
            )
        )

    def finish(self) -> None:
        """Report the end of the fit."""
        if self.root is not None:
            self.root.call_on_fit_task_end(estimator=self.estimator, **self.data)
