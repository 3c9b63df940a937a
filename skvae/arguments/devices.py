"""Where torch computes."""

import torch

__all__ = ["check_device"]


def check_device(device: object) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda" or "cuda:i"."""
    allowed = "'auto', 'cpu', 'cuda' or 'cuda:<index>'"
    if isinstance(device, torch.device):
        device = str(device)
    if not isinstance(device, str):
        raise TypeError(f"device must be {allowed}, got {device!r}.")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, colon, index = device.partition(":")
    if name not in ("cpu", "cuda") or (colon and not index.isdecimal()):
        raise ValueError(f"device must be {allowed}, got {device!r}.")
    if name == "cuda":
        n_devices = torch.cuda.device_count()
        if int(index or 0) >= n_devices:
            raise ValueError(
                f"device={device!r} is not available: torch sees {n_devices} CUDA "
                f"device(s) here. Use 'cpu' or 'auto'."
            )
    return torch.device(device)
