"""How is log p(x) read? By importance sampling, row by row, with its error."""

from skvae.evidence.adaptive import (
    RowEvidence,
    Stage,
    closed_form_of,
    default_stages,
    estimate_by,
    estimate_evidence,
)
from skvae.evidence.blocks import equal_blocks, filled_rows, joined_blocks
from skvae.evidence.bounds import bounds_by_groups, importance_bounds
from skvae.evidence.decisions import estimate_sides
from skvae.evidence.gaussians import posterior_and_bound
from skvae.evidence.noise import RowNoise, row_hash, seeds_of_repetitions
from skvae.evidence.posterior import PosteriorDraws, ask_posteriors
from skvae.evidence.proposals import (
    DefensiveProposal,
    EncoderProposal,
    PriorProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
)
from skvae.evidence.record import MEAN_TOL, Bounds, Evidence
from skvae.evidence.sampling import Budget, WeightSampler

__all__ = [
    "MEAN_TOL",
    "Bounds",
    "Budget",
    "DefensiveProposal",
    "EncoderProposal",
    "Evidence",
    "PosteriorDraws",
    "PriorProposal",
    "Proposal",
    "QuadratureProposal",
    "RefinedProposal",
    "RowEvidence",
    "RowNoise",
    "Stage",
    "WeightSampler",
    "ask_posteriors",
    "bounds_by_groups",
    "closed_form_of",
    "default_stages",
    "equal_blocks",
    "estimate_by",
    "estimate_evidence",
    "estimate_sides",
    "filled_rows",
    "importance_bounds",
    "joined_blocks",
    "posterior_and_bound",
    "row_hash",
    "seeds_of_repetitions",
]
