"""How weights are compared: by a bound on log p(x) of rows not trained on."""

import math

import torch
from torch import Tensor

from skvae.model import VAE

__all__ = ["Validation"]

BLOCK_DRAWS = 8192  # rows × draws that are decoded at a time


class Validation:
    """Validation rows, with fixed noise by which they are scored.

    The noise is the same at every call, so that two sets of weights are compared by
    the same draws: their difference is then far less noisy than either score.

    Parameters
    ----------
    x : Tensor of shape (N_valid, D)
        Validation rows, in model units; there may be none.
    weight : Tensor of shape (N_valid,)
        Positive weights of the rows, float64.
    noise : Tensor of shape (K, N_valid, noise_dim)
        Standard-normal noise of K draws per row.
    """

    def __init__(self, x: Tensor, weight: Tensor, noise: Tensor) -> None:
        self.x, self.weight, self.noise = x, weight, noise

    def __len__(self) -> int:
        """Return the number of validation rows."""
        return len(self.x)

    @torch.no_grad()
    def log_p(self, model: VAE) -> Tensor:
        """Return the importance-weighted bound of each row, shape (N_valid,), CPU."""
        log_p = []
        n_rows = max(1, BLOCK_DRAWS // len(self.noise))
        for begin in range(0, len(self.x), n_rows):
            rows = slice(begin, begin + n_rows)
            draw = model.draw(self.x[rows], self.noise[:, rows])
            log_w = draw.log_w.double()
            latent = log_w.logsumexp(0) - math.log(len(log_w))
            log_p.append(draw.closed_form.mix(latent).cpu())
        return torch.cat(log_p)

    def mean(self, log_p: Tensor) -> float:
        """Return the weighted mean of `log_p`, −inf if it is not a finite number."""
        weight = self.weight / self.weight.sum()
        evidence = float(weight @ log_p)
        return evidence if math.isfinite(evidence) else -math.inf
