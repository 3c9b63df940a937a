"""From an estimator's parameters to a fitted model."""

__all__: list[str] = []
