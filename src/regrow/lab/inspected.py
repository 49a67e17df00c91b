"""What `regrow inspect` looks at: a network of the user's, its saved weights, and data, read by name.

Called by `cli/inspect.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from regrow._named import FORM, imported, in_one_line, names_function
from regrow.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from regrow.lab.data.dataset import Dataset

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Where trainers keep the weights in their checkpoints."""

_WRAPPERS = ("module.", "_orig_mod.")


def examples_of(
    name: str, *, data_dir: Path | None, most: int
) -> tuple[Tensor, Tensor | None, Dataset | None]:
    """Inputs, targets where there are some, and the data set where it is one of the laboratory's.

    An npz file with an array ``x`` (and ``y``) is taken as it is: the network is called with it.
    """
    import numpy as np  # noqa: PLC0415 # the command's help does not wait for it
    import torch  # noqa: PLC0415

    base, _, path = name.partition(":")
    file = Path(path) if data_dir is None else data_dir / path
    if base == "npz" and file.is_file():
        from regrow.lab.data.archive import read_archive  # noqa: PLC0415

        found = read_archive(file, (), optional=("x", "y", "x_train"))
        if "x" in found:
            x = torch.from_numpy(np.ascontiguousarray(found["x"][:most]))
            if x.dtype == torch.uint8:
                raise DataError(
                    f"{file}: x must hold what the network is called with, got uint8: scale it, or name the arrays "
                    "x_train, y_train, x_test and y_test, which are scaled as in a study"
                )
            x = x.float() if x.is_floating_point() else x.long()
            if "y" in found and len(found["y"]) != len(found["x"]):
                raise DataError(
                    f"{file}: y must have one entry for each of the {len(found['x'])} of x, got {len(found['y'])}"
                )
            y = torch.from_numpy(np.ascontiguousarray(found["y"][:most])) if "y" in found else None
            whole = y is not None and not y.is_floating_point()
            return x, y.long() if y is not None and whole else y, None
        if "x_train" not in found:
            raise DataError(f"{file}: must hold an array x, or x_train, y_train, x_test and y_test")
    from regrow.lab.data.registry import load  # noqa: PLC0415

    data = load(name, data_dir=data_dir)
    return data.x_train[:most], data.y_train[:most], data


def batches(x: Tensor, y: Tensor | None, *, size: int) -> Iterator[Any]:
    """Parts of them, as `regrow.inspect` takes them."""
    for start in range(0, len(x), size):
        part = x[start : start + size]
        yield part if y is None else (part, y[start : start + size])


def network_of(name: str, *, data: Dataset | None) -> nn.Module:
    """A network by name: one of the laboratory's, or what the user's function returns, called as a study calls it.

    Or without arguments, where it needs none.
    """
    from regrow.lab.models.construct import made_by  # noqa: PLC0415
    from regrow.lab.models.registry import build, names  # noqa: PLC0415

    if names_function(name):
        function = imported(name, kind="model")
        if _takes_nothing(function):
            return made_by(function, name)
    elif name not in names():
        raise ConfigError(f"model '{name}' must be {FORM}, or one of {', '.join(names())}")
    if data is None:
        raise ConfigError(
            f"model '{name}': needs in_channels, image_size and classes, which arrays x and y do not tell: give a "
            "function without arguments, or a data set with x_train, y_train, x_test and y_test"
        )
    return build(name, seed=0, **data.sizes)


def _takes_nothing(function: object) -> bool:
    try:
        inspect.signature(cast("Any", function)).bind()
    except (TypeError, ValueError):
        return False
    return True


def load_weights(model: nn.Module, path: Path) -> None:
    """Put saved weights into a network: a state dict, or a checkpoint with one inside."""
    import torch  # noqa: PLC0415

    if not path.is_file():
        raise DataError(f"{path}: must be a file of weights, there is nothing")
    try:
        found: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        raise DataError(
            f"{path}: must be what torch.save(model.state_dict(), ...) writes: {in_one_line(error)[:200]}"
        ) from error
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = cast("Mapping[str, object]", found)[key]
    if not isinstance(found, Mapping):
        raise DataError(f"{path}: must hold a state dict, got {type(found).__name__}")
    for key in cast("Mapping[object, object]", found):
        if not isinstance(key, str):
            raise DataError(f"{path}: must hold a state dict, whose keys are texts, got {key!r}")
    state = dict(cast("Mapping[str, Tensor]", found))
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    try:
        model.load_state_dict(state)
    except Exception as error:  # torch's, or of the user's own loading
        raise DataError(
            f"{path}: must be weights of this model: {in_one_line(error)[:300]}"
        ) from error
