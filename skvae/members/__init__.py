"""Any density estimator as a part of another one: named, fitted, held out, mixed."""

__all__: list[str] = []
