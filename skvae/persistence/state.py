"""The state of estimators in pickles and in skops: arrays and one text."""

import json
from typing import Any

from skvae.persistence.codec import Encoded, decode, encode
from skvae.persistence.registry import defaults_of

__all__ = ["ArrayState"]

TEXT, ARRAYS, OTHERS = "skvae_state", "arrays", "others"


class ArrayState:
    """Estimators whose state is plain arrays beside a JSON document.

    Pickles open without a GPU whatever the estimator was fitted on, joblib shares the
    arrays among processes, and skops, which refuses tensors, stores them.
    """

    def __copy__(self) -> Any:
        # Shallow: the copy shares its attributes.
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        encoded = encode(dict(vars(self)))
        # Components that users wrote are pickled as they are.
        return {
            TEXT: json.dumps(encoded.root, separators=(",", ":")),
            ARRAYS: encoded.arrays,
            OTHERS: encoded.others,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if TEXT not in state:  # of a version that pickled the attributes
            vars(self).update(defaults_of(type(self)) | state)
            return
        root = json.loads(state[TEXT])
        attributes = decode(Encoded(root, state[ARRAYS], state[OTHERS]))
        vars(self).update(defaults_of(type(self)) | attributes)
