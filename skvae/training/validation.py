"""How weights are compared: by a bound on log p(x) of rows not trained on."""

import math

import torch
from torch import Tensor

from skvae.model import VAE
from skvae.model.cell_noise import OneGenerator
from skvae.training.companions import beside_pool

__all__ = ["Validation"]

BLOCK_DRAWS = 8192  # rows × draws that are decoded at a time


class Validation:
    """Validation rows, with fixed noise by which they are scored.

    The noise is the same at every call, so that two sets of weights are compared by
    the same draws: their difference is then far less noisy than either score.

    With a companion, the score is that of the mixture with it, at its best share.

    Parameters
    ----------
    x : Tensor of shape (N_valid, D)
        Validation rows, in model units; there may be none.
    weight : Tensor of shape (N_valid,)
        Positive weights of the rows, float64.
    noise : Tensor of shape (K, N_valid, noise_dim)
        Standard-normal noise of K draws per row.
    companion_log_p : Tensor of shape (N_valid,), default=None
        Log-densities of the rows under the companion; nan where they are not known.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        noise: Tensor,
        companion_log_p: Tensor | None = None,
    ) -> None:
        self.x, self.weight, self.noise = x, weight, noise
        self.companion_log_p = companion_log_p

    def __len__(self) -> int:
        """Return the number of validation rows."""
        return len(self.x)

    def with_companion(self, latent: Tensor) -> Tensor:
        """Return log-densities (N_valid,) of the mixture of latent part and companion.

        Parameters
        ----------
        latent : Tensor of shape (N_valid,)
            What `latent_log_p` returns.
        """
        if self.companion_log_p is None or not len(self.x):
            return latent
        return beside_pool(latent, self.companion_log_p, self.weight)

    @torch.no_grad()
    def latent_log_p(self, model: VAE, noise: Tensor | None = None) -> Tensor:
        """Return the bound of each row without the companion, shape (N_valid,), CPU.

        Parameters
        ----------
        model : VAE
            The weights to score.
        noise : Tensor of shape (K, N_valid, noise_dim), default=None
            Other noise than that of all comparisons.
        """
        noise = self.noise if noise is None else noise
        cells = OneGenerator(torch.Generator(noise.device).manual_seed(0))
        log_p = []
        n_rows = max(1, BLOCK_DRAWS // len(noise))
        for begin in range(0, len(self.x), n_rows):
            rows = slice(begin, begin + n_rows)
            draw = model.draw(self.x[rows], noise[:, rows], cells=cells)
            log_w = draw.log_w.double()
            latent = log_w.logsumexp(0) - math.log(len(log_w))
            log_p.append(draw.closed_form.mix(latent).cpu())
        return torch.cat(log_p)

    def mean(self, log_p: Tensor) -> float:
        """Return the weighted mean of `log_p`, −inf if it is not a finite number."""
        weight = self.weight / self.weight.sum()
        evidence = float(weight @ log_p)
        return evidence if math.isfinite(evidence) else -math.inf
