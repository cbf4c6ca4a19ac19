"""The statements, compiled: equal to their integer oracles, refusing what is false, and telling no more than they say.

Needs no keys, except where a module is marked `proof`.
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.harness", f"{__name__}.checks")
