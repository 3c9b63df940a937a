"""The dtype in which models are built and trained."""

import torch

__all__ = ["BUILD_DTYPE"]

# Components state it wherever they make a tensor of their own. Torch's default dtype
# is the user's, and may change while a model is fitted.
BUILD_DTYPE = torch.float32
