"""RegrowCallback for skorch's NeuralNet."""

# skorch is an extra, and not there where types are checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from regrow.compose import Recipe
from regrow.errors import MissingExtraError
from regrow.guard import Guard
from regrow.integrations.guest import Course, Guest, Host

try:
    from skorch.callbacks import Callback
    from skorch.dataset import unpack_data
    from skorch.utils import to_tensor
except ImportError as error:
    raise MissingExtraError("skorch", extra="skorch") from error


class RegrowCallback(Host, Callback):
    """A recipe in a `skorch.NeuralNet`: ``NeuralNetClassifier(..., callbacks=[RegrowCallback("keepalive")])``.

    It attaches at the first batch of a ``fit``, and detaches at its end. Its state is in the optimizer's, which
    `skorch.callbacks.Checkpoint` saves and `LoadInitState` or ``net.load_params(checkpoint=...)`` loads. Length of the
    training and of an epoch are the net's.

    Args:
        recipe: A recipe, or its name.
        settings: Of a recipe that is given by name.
        **options: What else `regrow.attach` takes, such as ``layers``, ``exclude``, ``seed``, ``log``, ``companions``.
            All are parameters of the callback for `sklearn.base.clone` and for searches.

    Edge cases:
        ``partial_fit`` keeps the optimizer, with what it remembers: the regrower remembers too, and its report goes on.
        A copy or pickle of the net has the report and the state in the place of the regrower.
    """

    def __init__(
        self,
        recipe: Recipe | Guard | str,
        *,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.recipe, self.settings, self.options = recipe, settings, options
        self._guest = Guest(recipe, options, settings=settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What a clone is made with, by name: nothing in here has parameters of its own."""
        return {"recipe": self.recipe, "settings": self.settings, **self.options}

    def set_params(self, **params: Any) -> Self:
        """Change arguments, as a search does."""
        type(self).__init__(self, **{**self.get_params(), **params})
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **others: Any) -> None:
        """A ``fit`` begins."""
        self._guest.begin()

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **others: Any) -> None:
        """An epoch begins: so many batches does it have."""
        self.batches_ = (
            len(net.get_iterator(dataset_train, training=True)) if self._guest.waits else 0
        )

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **others: Any
    ) -> None:
        """Attach before the first pass."""
        if training and self._guest.waits:
            inputs, _ = unpack_data(batch)
            # Asked here: LoadInitState may stand behind this callback, and loads when the training begins.
            done = sum(row.get("train_batch_count", 0) for row in net.history)
            self._guest.attach(
                net.module_,
                net.optimizer_,
                inputs=to_tensor(inputs, device=net.device),
                course=Course(
                    total=done + self.batches_ * net.max_epochs,
                    done=done,
                    per_epoch=self.batches_,
                ),
            )
