"""Latents as symbols: points of a lattice, or numbers of codes.

Latents are drawn with bits of the stack (bits back), and written under the prior: what
a row costs is log q(z | x) − log p(x, z), and in the mean over z the negative ELBO.

The mode of a mixture prior is one more symbol: it is drawn given z, and written under
the weights of the modes, so that all modes together are paid for.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.compression.stack import BitStack, Channel, Codes, Normals, Popped, Tape
from skvae.model import VAE
from skvae.model.distributions import (
    Chain,
    CholeskyGaussian,
    CodeDistribution,
    GaussianStep,
    LatentDistribution,
    SlotDistribution,
    vectors_of,
)
from skvae.typing import Array

__all__ = ["LatentCoder", "latent_coder", "lattice_of"]

Points = NDArray[np.int32]

MOST_STEPS = 2**13  # of the lattice, on each side of zero
# And on each side of a posterior's mean: every symbol has a probability of at least
# 2⁻²⁴, so that among very many, draws would now and then be far out.
MOST_STEPS_OFF = 2**6
# Steps are powers of two, of which one row in ten may have a narrower posterior.
NARROW_SHARE = 0.1
FINEST, COARSEST = -12, 2


class LatentCoder(ABC):
    """Latents of rows as whole numbers, (B, S)."""

    @abstractmethod
    def draw(self, stack: BitStack, posterior: LatentDistribution) -> Points:
        """Draw latents of rows from their posteriors, by bits of the stack."""

    @abstractmethod
    def give_back(
        self, stack: BitStack, posterior: LatentDistribution, points: Points
    ) -> None:
        """Put back what `draw` has taken."""

    @abstractmethod
    def code(self, channel: Channel, points: Points | None, n_rows: int) -> Points:
        """Write latents under the prior, or read them."""

    @abstractmethod
    def latents(self, points: Points) -> Tensor:
        """Return the latents (B, L)."""


def lattice_of(posterior: LatentDistribution) -> list[int]:
    """Return the steps of the lattice for these rows, as powers of two.

    A Gaussian on a lattice whose step is its standard deviation has the sum that it
    should have to nine digits (Poisson's summation formula).
    """
    if not isinstance(posterior, CholeskyGaussian):
        return []
    scale = posterior.tril.diagonal(dim1=-2, dim2=-1).numpy()
    narrow = np.log2(np.quantile(scale, NARROW_SHARE, axis=0))
    return np.floor(narrow).clip(FINEST, COARSEST).astype(int).tolist()


def latent_coder(model: VAE, lattice: Sequence[int]) -> LatentCoder:
    """Return the coder for the latents of a model.

    Parameters
    ----------
    model : VAE
        The density.
    lattice : sequence of int
        What `lattice_of` returns; empty where latents have few values.

    Raises
    ------
    ValueError
        If nothing is known of the prior by which a lattice could have probabilities.
    """
    prior = model.prior()
    if not model.decoder.reads_latents:
        return _NoLatents(prior)
    if isinstance(prior, CodeDistribution):
        return _CodeLatents(prior)
    if isinstance(prior, SlotDistribution):
        return _SlotLatents(prior)
    top = prior.top if isinstance(prior, Chain) else prior
    modes = top.gaussian_modes()
    if modes is None:
        raise ValueError(
            f"Compression needs a prior of Gaussians or of codes, and "
            f"{type(top).__name__} is neither: fit with prior='mixture', 'normal', "
            f"'vamp' or 'codebook'."
        )
    return _GaussianLatents(prior, modes, 2.0 ** np.array(lattice))


class _NoLatents(LatentCoder):
    """Latents that no decoder reads: no symbols."""

    def __init__(self, prior: LatentDistribution) -> None:
        self.prior = prior

    def draw(self, stack: BitStack, posterior: LatentDistribution) -> Points:
        """Return no symbols."""
        return np.zeros((len(posterior.mean), 0), dtype=np.int32)

    def give_back(
        self, stack: BitStack, posterior: LatentDistribution, points: Points
    ) -> None:
        """Do nothing."""

    def code(self, channel: Channel, points: Points | None, n_rows: int) -> Points:
        """Return no symbols."""
        return np.zeros((n_rows, 0), dtype=np.int32)

    def latents(self, points: Points) -> Tensor:
        """Return the mean."""
        return self.prior.mean.expand(len(points), -1)


class _CodeLatents(LatentCoder):
    """Latents with few values, by their numbers."""

    def __init__(self, prior: CodeDistribution) -> None:
        self.prior = prior

    def draw(self, stack: BitStack, posterior: LatentDistribution) -> Points:
        """Draw numbers of codes."""
        return stack.pop(self._law(posterior))[:, None]

    def give_back(
        self, stack: BitStack, posterior: LatentDistribution, points: Points
    ) -> None:
        """Put the numbers back."""
        stack.push(points[:, 0], self._law(posterior))

    def code(self, channel: Channel, points: Points | None, n_rows: int) -> Points:
        """Write or read numbers of codes."""
        mass = self.prior.log_weight.exp().expand(n_rows, -1).numpy()
        known = None if points is None else points[:, 0]
        return channel.code(Codes(mass), known)[:, None]

    def latents(self, points: Points) -> Tensor:
        """Return the vectors of codes."""
        return self.prior.points[torch.from_numpy(points[:, 0]).long()]

    @staticmethod
    def _law(posterior: LatentDistribution) -> Codes:
        assert isinstance(posterior, CodeDistribution)
        return Codes(posterior.log_weight.exp().numpy())


class _SlotLatents(LatentCoder):
    """Combinations of codes, slot by slot."""

    def __init__(self, prior: SlotDistribution) -> None:
        self.prior = prior

    def draw(self, stack: BitStack, posterior: LatentDistribution) -> Points:
        """Draw codes from the encoder."""
        n_rows = len(posterior.mode)
        return _code_slots(Popped(stack), posterior, None, n_rows)

    def give_back(
        self, stack: BitStack, posterior: LatentDistribution, points: Points
    ) -> None:
        """Put the codes back."""
        with Tape(stack) as tape:
            _code_slots(tape, posterior, points, len(points))

    def code(self, channel: Channel, points: Points | None, n_rows: int) -> Points:
        """Write or read codes."""
        return _code_slots(channel, self.prior, points, n_rows)

    def latents(self, points: Points) -> Tensor:
        """Return the vectors of codes."""
        return vectors_of(self.prior.codes, torch.from_numpy(points).long())


def _code_slots(
    channel: Channel,
    distribution: LatentDistribution,
    points: Points | None,
    n_rows: int,
) -> Points:
    """Write or read codes, each given those of the slots before."""
    assert isinstance(distribution, SlotDistribution)

    def choose(slot: int, log_mass: Tensor) -> Tensor:
        mass = log_mass.exp().expand(n_rows, -1).numpy()
        known = None if points is None else points[:, slot]
        return torch.from_numpy(channel.code(Codes(mass), known)).long()

    return distribution.chosen(choose).numpy().astype(np.int32)


class _GaussianLatents(LatentCoder):
    """Latents on a lattice; the last symbol is the mode of the prior."""

    def __init__(
        self,
        prior: LatentDistribution,
        modes: tuple[Tensor, Tensor, Tensor],
        step: Array,
    ) -> None:
        self.log_weight, self.mean, self.tril = (part.detach() for part in modes)
        # Of levels below the one that has the modes, the lowest first.
        self.steps: list[GaussianStep] = []
        if isinstance(prior, Chain):
            self.steps = [s for s in prior.steps if isinstance(s, GaussianStep)]
        self.step = step
        self.n_below = sum(level.n_latents for level in self.steps)
        self.modes = CholeskyGaussian(self.mean, self.tril)

    def draw(self, stack: BitStack, posterior: LatentDistribution) -> Points:
        """Draw lattice points from Gaussians, and a mode given them."""
        assert isinstance(posterior, CholeskyGaussian)
        moments = posterior.mean.numpy(), posterior.tril.numpy()
        channel = Popped(stack)
        points = _code_gaussian(channel, *moments, self.step, None, near=True)
        mode = stack.pop(self._modes_given(points))
        return np.concatenate([points, mode[:, None]], 1)

    def give_back(
        self, stack: BitStack, posterior: LatentDistribution, points: Points
    ) -> None:
        """Put modes and lattice points back."""
        assert isinstance(posterior, CholeskyGaussian)
        points, mode = points[:, :-1], points[:, -1]
        stack.push(mode, self._modes_given(points))
        moments = posterior.mean.numpy(), posterior.tril.numpy()
        with Tape(stack) as tape:
            _code_gaussian(tape, *moments, self.step, points, near=True)

    def code(self, channel: Channel, points: Points | None, n_rows: int) -> Points:
        """Write or read modes, the top level, and the levels below it."""
        mass = self.log_weight.exp().expand(n_rows, -1).numpy()
        mode = channel.code(Codes(mass), None if points is None else points[:, -1])
        index = torch.from_numpy(mode).long()
        moments = self.mean[index].numpy(), self.tril[index].numpy()
        end = len(self.step)
        begin = self.n_below

        def part(begin: int, end: int) -> Points | None:
            return None if points is None else points[:, begin:end]

        step = self.step[begin:]
        levels = [_code_gaussian(channel, *moments, step, part(begin, end))]
        for level in reversed(self.steps):
            above = torch.from_numpy(levels[-1] * step)[None]
            mean, scale = (moment[0].numpy() for moment in level.level(above))
            begin, end = begin - level.n_latents, begin
            step = self.step[begin:end]
            law = Normals((mean / step).ravel(), (scale / step).ravel(), MOST_STEPS)
            known = part(begin, end)
            own = channel.code(law, None if known is None else known.ravel())
            levels.append(own.reshape(n_rows, -1))
        return np.concatenate([*levels[::-1], mode[:, None]], 1)

    def latents(self, points: Points) -> Tensor:
        """Return the lattice points."""
        return torch.from_numpy(points[:, :-1] * self.step)

    def _modes_given(self, points: Points) -> Codes:
        z = torch.from_numpy(points[:, self.n_below :] * self.step[self.n_below :])
        each = z[:, None].expand(-1, len(self.log_weight), -1)
        log_joint = self.modes.log_prob(each) + self.log_weight
        return Codes(log_joint.softmax(1).numpy())


def _code_gaussian(
    channel: Channel,
    mean: Array,
    tril: Array,
    step: Array,
    points: Points | None,
    *,
    near: bool = False,
) -> Points:
    """Write or read lattice points under Gaussians, one latent after the other.

    Parameters
    ----------
    channel : Channel
        Where to.
    mean : ndarray of shape (B, L)
        Means.
    tril : ndarray of shape (B, L, L)
        Cholesky factors of the covariances.
    step : ndarray of shape (L,)
        Steps of the lattice.
    points : ndarray of shape (B, L) or None
        Numbers of steps; None to read them.
    near : bool, default=False
        Whether points are near the mean, as draws are, and their places are counted
        from there.
    """
    most = MOST_STEPS_OFF if near else MOST_STEPS
    standard = np.zeros_like(mean)
    found = np.empty(mean.shape, dtype=np.int32)
    for place, width in enumerate(step):
        shift = (tril[:, place, :place] * standard[:, :place]).sum(1)
        location, scale = mean[:, place] + shift, tril[:, place, place]
        middle = np.zeros(len(mean))
        if near:
            middle = np.rint(location / width).clip(-MOST_STEPS, MOST_STEPS)
        law = Normals(location / width - middle, scale / width, most)
        known = None
        if points is not None:
            known = points[:, place] - middle.astype(np.int32)
        found[:, place] = channel.code(law, known) + middle.astype(np.int32)
        standard[:, place] = (found[:, place] * width - location) / scale
    return found
