"""Files that import a package that is not installed have no examples to run."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDS = ("accelerate", "ignite", "lightning", "skorch", "transformers")
collect_ignore = [f"regrow/integrations/{name}.py" for name in _NEEDS if find_spec(name) is None]
