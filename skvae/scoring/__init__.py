"""From a fitted model to numbers about rows: log-densities, errors, bounds, health."""

__all__: list[str] = []
