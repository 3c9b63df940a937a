"""How is log p(x) read? By importance sampling, row by row, with its error."""

from skvae.evidence.adaptive import estimate_evidence
from skvae.evidence.importance import Estimate, summarise
from skvae.evidence.noise import row_hash
from skvae.evidence.proposals import EncoderProposal, PriorProposal, Proposal
from skvae.evidence.record import Evidence

__all__ = [
    "EncoderProposal",
    "Estimate",
    "Evidence",
    "PriorProposal",
    "Proposal",
    "estimate_evidence",
    "row_hash",
    "summarise",
]
