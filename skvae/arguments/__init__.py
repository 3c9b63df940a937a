"""What users pass, checked: numbers, choices, seeds, devices."""

__all__: list[str] = []
