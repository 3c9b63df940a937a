"""Tables ↔ model units: what columns hold, and the map to numbers that models read."""

__all__: list[str] = []
