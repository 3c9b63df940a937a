"""What is missing, given the rest? Single cells, completed rows, marginals."""

__all__: list[str] = []
