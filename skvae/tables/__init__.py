"""Tables ↔ model units: what the columns hold, and how their cells become numbers."""

__all__: list[str] = []
