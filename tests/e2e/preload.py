"""What the server of forked role processes imports once, so that a role starts in a fraction of a second."""

import gc
import inspect

import torch  # noqa: F401
from sklearn.datasets import load_digits

from zkmarket.chain import compile_contracts  # noqa: F401

# noqa: F401

load_digits()
torch.set_num_threads(1)
compile_contracts()
inspect.stack()  # Brownie asks for it when it connects; the first time it looks at every module
gc.collect()
gc.freeze()  # or a collection in a forked process would copy every page that it looks at
