"""Codes that die are restarted, on rows that have a low log-density."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skvae.model import VAE
from skvae.model.cell_noise import OneGenerator
from skvae.model.distributions import CodeDistribution, numbers_of
from skvae.model.priors import CodesModule
from skvae.training.averaging import WeightAverage
from skvae.training.records import RowSource

__all__ = ["CodeRestarts", "restart_codes"]

# Codes are looked at so many times, evenly in the first part of the training.
N_TIMES, FIRST_PART = 8, 1 / 3
DEAD = 0.05  # of an equal share of the rows
MOST_ROWS = 2048  # that are read
N_DRAWS = 4  # of the encoder's codes of a row, where they are drawn
WORST = 0.25  # of the rows, among which some are chosen
MOST_RESTARTED = 0.25  # of a slot's codes, at a time
N_STEPS = 30  # from the code of a row towards the row
LEAST_STEP = 1e-3  # in standard deviations of a slot's codes


class CodeRestarts:
    """Restarts codes at a few times in the first part of a training.

    Parameters
    ----------
    model : VAE
        The model; nothing happens where its latents are no codes.
    x : Tensor or RowSource of shape (N, columns)
        Training rows, in model units.
    average : WeightAverage
        Of the model's weights; those of a restarted code are restarted, too.
    n_steps : int
        Number of all steps of the training.
    """

    def __init__(
        self, model: VAE, x: Tensor | RowSource, average: WeightAverage, n_steps: int
    ) -> None:
        self.model, self.x, self.average = model, x, average
        self.n_steps = n_steps

    def after(self, n_done: int, n_new: int, share: Callable[[Tensor], Tensor]) -> None:
        """Restart codes that are dead after so many steps, if it is time to.

        Parameters
        ----------
        n_done, n_new : int
            Steps that are done, and how many of them since the last call.
        share : callable
            Gives all processes of a training the tensor that the first of them has.
        """
        if self.model.prior.n_codes is None:
            return
        if self._number(n_done) == self._number(n_done - n_new):
            return
        before = [p.detach().clone() for p in self.model.parameters()]
        restart_codes(self.model, self.x)
        # Whatever the others have found, all processes do as the first one.
        for values in self.model.parameters():
            share(values.detach())
        self.average.follow(before)

    def _number(self, n_done: int) -> int:
        """Return how often codes are looked at in so many steps."""
        done = n_done / (self.n_steps * FIRST_PART)
        return math.floor(N_TIMES * min(done, 1.0))


def restart_codes(model: VAE, x: Tensor | RowSource) -> int:
    """Move codes that hardly any row uses; return how many.

    A dead code gets the place of a badly scored row: half the mass of the row's own
    code, and that code's vector, moved uphill on log p(x | z). The density of all other
    rows hardly changes. All of it is a function of weights and rows.

    Parameters
    ----------
    model : VAE
        Changed in place.
    x : Tensor or RowSource of shape (N, columns)
        Training rows, in model units.

    References
    ----------
    P. Dhariwal et al., 2020. Jukebox: a generative model for music. (Random restarts.)
    """
    prior = model.prior
    if not isinstance(prior, CodesModule) or not model.decoder.reads_latents:
        return 0
    n_codes = prior.n_codes
    step = -(-len(x) // MOST_ROWS)
    rows = x[torch.arange(0, len(x), step, device=x.device)]
    usage, log_p = _usage(prior, model, rows)
    dead = usage < DEAD / n_codes
    if not dead.any():
        return 0
    closed_form = model.closed_form(rows)
    modelled = closed_form.latent_share(log_p) > 0.5
    # Rows that only the background explains are no place for a code.
    order = log_p.masked_fill(~modelled, torch.inf).argsort(stable=True)
    worst = order[: max(1, math.ceil(WORST * int(modelled.sum())))]
    most, n_moved = max(1, int(MOST_RESTARTED * n_codes)), 0
    for slot in range(prior.n_slots):
        targets = dead[slot].nonzero().squeeze(1)[:most]
        if not len(targets):
            continue
        place = torch.arange(len(targets), device=worst.device)
        chosen = rows[worst[place * len(worst) // len(targets)]]
        with torch.no_grad():
            own = prior.embed(model.encode(chosen))
            z = prior.latents(own)
        vectors = _uphill(prior, model, chosen, z, slot)
        for source, target, vector in zip(own[:, slot], targets, vectors, strict=True):
            prior.restart(slot, int(source), int(target), vector)
            n_moved += 1
    return n_moved


@torch.no_grad()
def _usage(prior: CodesModule, model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return which share of rows has each code (M, C), and a bound of each row (B,)."""
    generator = torch.Generator(x.device).manual_seed(0)
    q = model.encode(x)
    noise = x.new_empty(N_DRAWS, len(x), q.noise_dim).normal_(generator=generator)
    draw = model.draw(x, noise, cells=OneGenerator(generator))
    if isinstance(q, CodeDistribution):
        mass, points = q.log_weight.exp().mean(0), q.points
    else:
        points = q.rsample(noise)[0].flatten(0, 1)
        mass = points.new_full((len(points),), 1 / len(points))
    numbers = numbers_of(prior.codes, points)
    usage = mass.new_zeros(prior.n_slots, prior.n_codes)
    for slot, own in enumerate(numbers.T):
        usage[slot].index_add_(0, own, mass)
    return usage, draw.log_mean_w


def _uphill(prior: CodesModule, model: VAE, x: Tensor, z: Tensor, slot: int) -> Tensor:
    """Return vectors (B, L / M) of a slot by which rows have a higher density than z.

    Steps along the gradient of log p(x | z): longer after a gain, shorter after a loss.
    """
    cells = OneGenerator(torch.Generator(x.device).manual_seed(0))
    parts = z.unflatten(1, (prior.n_slots, -1))
    scale = prior.codes[slot].detach().std(0).clamp(min=1e-3)
    found = trial = parts[:, slot]
    slope = torch.zeros_like(found)
    best = x.new_full((len(x), 1), -torch.inf)
    length = x.new_ones(len(x), 1)
    for _ in range(N_STEPS):
        trial = trial.detach().requires_grad_()
        moved = parts.clone()
        moved[:, slot] = trial
        value = model.log_likelihood(x, moved.flatten(1)[None], cells).T
        (gradient,) = torch.autograd.grad(value.sum(), trial)
        value, trial = value.detach(), trial.detach()
        better = value > best
        found, slope = trial.where(better, found), gradient.where(better, slope)
        best = torch.maximum(best, value)
        length = length * torch.where(better, 1.5, 0.4)
        direction = scale * slope
        norm = direction.norm(dim=1, keepdim=True).clamp(min=1e-12)
        trial = found + length * scale * direction / norm
    # No two codes are equal, or they would get the same gradient for ever.
    number = torch.arange(1, len(x) + 1, device=x.device)[:, None]
    return found + LEAST_STEP * scale * number
