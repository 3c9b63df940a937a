"""How is log p(x) read? By importance sampling, row by row, with its error."""

from skvae.evidence.adaptive import (
    RowEvidence,
    Stage,
    closed_form_of,
    default_stages,
    estimate_evidence,
)
from skvae.evidence.blocks import filled_rows
from skvae.evidence.bounds import importance_bounds
from skvae.evidence.decisions import estimate_sides
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
from skvae.evidence.sampling import Budget

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
    "ask_posteriors",
    "closed_form_of",
    "default_stages",
    "estimate_evidence",
    "estimate_sides",
    "filled_rows",
    "importance_bounds",
    "row_hash",
    "seeds_of_repetitions",
]
