"""Weighted draws from p(z | x), by which questions about missing cells are answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from skvae.evidence.blocks import equal_blocks, in_threads, joined_blocks
from skvae.evidence.importance import summarise
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals import (
    DefensiveProposal,
    PriorProposal,
    Proposal,
    RefinedProposal,
    SlotwiseProposal,
    search_from_prior,
)
from skvae.model import VAE
from skvae.model.cell_noise import CellNoise

__all__ = ["PosteriorDraws", "ask_posteriors"]

AT_ONCE = 512  # rows whose draws are kept
MANY, FEW = 16, 4  # rows of a block
# Of an effective sample size that is enough: with so much, no modes are searched for.
SEARCHED_BELOW = 0.25


@dataclass(frozen=True)
class PosteriorDraws:
    r"""Latents of B rows, drawn from a proposal, and their importance weights.

    Attributes
    ----------
    z : Tensor of shape (K, B, L)
        Latents.
    log_w : Tensor of shape (K, B)
        log p(x, z) − log q(z), float64, with the observed cells of x.
    noise : RowNoise
        What the latents and the missing cells of each row are drawn by.
    """

    z: Tensor
    log_w: Tensor
    noise: RowNoise

    def of_rows(self, rows: Tensor) -> "PosteriorDraws":
        """Return the draws of some rows."""
        return PosteriorDraws(self.z[:, rows], self.log_w[:, rows], self.noise[rows])

    @cached_property
    def log_evidence(self) -> Tensor:
        """Estimate of log p(x) of the latent part, shape (B,)."""
        return summarise(self.log_w).log_density

    def size(self) -> Tensor:
        """Return the effective sample size of the weights, (B,)."""
        return summarise(self.log_w).effective_sample_size

    @cached_property
    def log_weight(self) -> Tensor:
        """Log of the weights that sum to one over the draws of a row, (K, B)."""
        return self.log_w.log_softmax(0)

    def cpu(self) -> "PosteriorDraws":
        """Return the draws on the CPU."""
        return replace(self, z=self.z.cpu(), log_w=self.log_w.cpu())

    def cells(self) -> CellNoise:
        """Return what missing cells are drawn by, the same ones as for the weights."""
        return self.noise.cells()

    def resampled(self, n_draws: int) -> Tensor:
        """Return numbers of so many draws of each row, chosen by weight, (n_draws, B).

        The cumulative weight is cut into equal slices, and each gives one draw, from a
        place in it that the noise of the row decides (stratified resampling). They come
        in random order.
        """
        edges = self.log_weight.exp().cumsum(0).T.contiguous()
        uniform = self.noise.stream(1).uniform(0, n_draws, 2).to(edges.device)
        place, order = uniform.permute(2, 1, 0).contiguous()
        where = (torch.arange(n_draws).to(place) + place) / n_draws
        chosen = torch.searchsorted(edges, where).clamp(max=len(self.z) - 1)
        return chosen.gather(1, order.argsort(1)).T


def ask_posteriors(
    model: VAE,
    x: Tensor,
    noise: RowNoise,
    question: Callable[[Tensor, PosteriorDraws], tuple[Tensor, ...]],
    n_draws: int,
    enough: float,
) -> tuple[Tensor, ...]:
    """Answer a question by weighted draws from the posterior of each row.

    Draws are the encoder's and some of the prior's, and where these leave too few,
    those of a Gaussian fitted to the row, or of a mixture that has modes found from the
    prior. All that is decided about a row is decided by its own weights.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, columns)
        Rows, in model units; missing cells are NaN.
    noise : RowNoise
        The rows' noise.
    question : callable
        Maps the numbers of some rows and their draws to tensors with a first axis of
        rows, on the CPU. It is called in several threads.
    n_draws : int
        Number of draws of each row.
    enough : float
        Effective sample size of the draws, as a share of their number, below which a
        better proposal is tried, and with a quarter of which no modes are searched for.

    Returns
    -------
    answers : tuple of Tensor
        The tensors of all rows.
    """
    proposals: list[Proposal] = [DefensiveProposal()]
    if model.prior.n_codes is not None and not model.encoder_is_exact:
        proposals += [SlotwiseProposal(1, 1), SlotwiseProposal(3, 4)]
    elif not model.encoder_is_exact:
        n_latents = model.prior().mean.shape[-1]
        proposals += [RefinedProposal(), search_from_prior(n_latents)]

    empty = x[:, : model.n_features].isnan().all(1)
    answers = []
    for chosen, tried in ((~empty, proposals), (empty, [PriorProposal()])):
        for rows in chosen.nonzero().squeeze(1).split(AT_ONCE):
            if not len(rows):
                continue
            draws = _draws(model, x[rows], noise[rows], tried, n_draws, enough)

            def of_block(
                block: Tensor, rows: Tensor = rows, draws: PosteriorDraws = draws
            ) -> tuple[Tensor, ...]:
                return question(rows[block], draws.of_rows(block))

            every = torch.arange(len(rows), device=x.device)
            joined = joined_blocks(of_block, every, MANY, FEW)
            answers.append((rows.cpu(), *joined))
    rows, *answer = (torch.cat(part) for part in zip(*answers, strict=True))
    return tuple(part[rows.argsort()] for part in answer)


@torch.no_grad()
def _draws(
    model: VAE,
    x: Tensor,
    noise: RowNoise,
    proposals: Sequence[Proposal],
    n_draws: int,
    enough: float,
) -> PosteriorDraws:
    """Draw from the proposals in turn, until the weights leave enough draws."""
    waiting = torch.arange(len(x), device=x.device)
    key = noise.key.copy()
    n_latents = model.prior().mean.shape[-1]
    z = x.new_empty(n_draws, len(x), n_latents)
    log_w = torch.empty(n_draws, len(x), dtype=torch.float64, device=x.device)
    for number, proposal in enumerate(proposals):

        def of_block(
            rows: Tensor, number: int = number, proposal: Proposal = proposal
        ) -> tuple[Tensor, PosteriorDraws]:
            stream = noise[rows].stream(number)
            distribution = proposal.prepare(model, x[rows], stream.stream(1))
            points = stream.stream(2).points(distribution.noise_dim, 0, n_draws, like=x)
            draw = model.draw_from(distribution, x[rows], points, stream.cells())
            return rows, PosteriorDraws(draw.z, draw.log_w.double(), stream)

        for rows, found in in_threads(of_block, equal_blocks(waiting, MANY, FEW)):
            z[:, rows], log_w[:, rows] = found.z, found.log_w
            key[rows.cpu().numpy()] = found.noise.key
        size = summarise(log_w[:, waiting]).effective_sample_size
        wanted = enough * n_draws * (SEARCHED_BELOW if number else 1.0)
        waiting = waiting[size < wanted]
        if not len(waiting):
            break
    return PosteriorDraws(z, log_w, RowNoise(key))
