"""From scores to decisions: thresholds, p-values, trimming, explanations."""

__all__: list[str] = []
