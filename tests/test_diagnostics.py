"""The health report of a fitted density."""

import copy
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from skvae import Diagnosis, GaussianLikelihood, VAEDensity
from skvae._job import training_settings
from skvae.evidence import RowNoise, row_hash
from skvae.evidence.diagnosis import check_rows
from skvae.model.distributions import CholeskyGaussian
from skvae.model.likelihoods import MixtureLikelihood
from tests.conftest import QUICK
from tests.model.conftest import context  # noqa: F401
