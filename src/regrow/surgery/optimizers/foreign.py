"""Optimizers of other packages, by the name of their class: none of these packages is imported here."""

from __future__ import annotations

from typing import Final

from torch.optim import Optimizer

from regrow.surgery.optimizers.adam_kin import AdamWLegacy, NAdamW, TransformersAdamW
from regrow.surgery.optimizers.adan import Adan
from regrow.surgery.optimizers.adopt import Adopt
from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.laprop import LaProp
from regrow.surgery.optimizers.madgrad import MADGRAD
from regrow.surgery.optimizers.memoryless import Lion, RMSpropTF
from regrow.surgery.optimizers.nadam import NAdamLegacy
from regrow.surgery.optimizers.rectified import AdaBelief, RAdamLegacy
from regrow.surgery.optimizers.sgd import SGDW

FOREIGN: Final[dict[str, Family]] = {
    "timm.optim.adabelief.AdaBelief": AdaBelief(),
    "timm.optim.adamw.AdamWLegacy": AdamWLegacy(),
    "timm.optim.adan.Adan": Adan(),
    "timm.optim.adopt.Adopt": Adopt(),
    "timm.optim.laprop.LaProp": LaProp(),
    "timm.optim.lion.Lion": Lion(),
    "timm.optim.madgrad.MADGRAD": MADGRAD(),
    "timm.optim.nadam.NAdamLegacy": NAdamLegacy(),
    "timm.optim.nadamw.NAdamW": NAdamW(),
    "timm.optim.radam.RAdamLegacy": RAdamLegacy(),
    "timm.optim.rmsprop_tf.RMSpropTF": RMSpropTF(),
    "timm.optim.sgdw.SGDW": SGDW(),
    "lion_pytorch.lion_pytorch.Lion": Lion(),
    "lion_pytorch.foreach.Lion": Lion(),
    "transformers.optimization.AdamW": TransformersAdamW(),
}
"""Those whose state of a renewed unit is made exactly that of a fresh one."""

_PROJECTED: Final = (
    "whether its steps are projected is decided by the largest cosine of all filters of a tensor"
)
_FACTORED: Final = (
    "its second moments of a matrix are kept by row and by column, not by entry, and its step is clipped by a norm "
    "over the whole tensor"
)

FOREIGN_REFUSED: Final[dict[str, str]] = {
    "timm.optim.adafactor.Adafactor": _FACTORED,
    "timm.optim.adafactor_bv.AdafactorBigVision": _FACTORED,
    "timm.optim.adahessian.Adahessian": "the curvature of earlier steps is kept in the parameters themselves, where "
    "that of a fresh filter is not known before it is measured",
    "timm.optim.adamp.AdamP": _PROJECTED,
    "timm.optim.kron.Kron": "its preconditioners are matrices that mix all entries of a tensor",
    "timm.optim.lamb.Lamb": "each step is scaled by the norms of the whole tensor and of its update",
    "timm.optim.lars.Lars": "each step is scaled by the norms of the whole tensor and of its gradient",
    "timm.optim.mars.Mars": "the corrected gradient is divided by its norm over the whole tensor",
    "timm.optim.muon.Muon": "it makes the momentum of a whole matrix orthogonal, so that every unit's step depends on "
    "all others",
    "timm.optim.nvnovograd.NvNovoGrad": "the gradient is divided by an average of its norm over the whole tensor",
    "timm.optim.sgdp.SGDP": _PROJECTED,
    "lion_pytorch.cautious_lion.Lion": "each step is divided by the mean of a mask over the whole tensor",
    "transformers.optimization.Adafactor": _FACTORED,
}
"""Those that no exact edit can follow, and why."""

FOREIGN_NO_ZERO: Final[dict[str, str]] = {
    "timm.optim.adafactor.Adafactor": "its factored second moments do not belong to entries",
    "timm.optim.adafactor_bv.AdafactorBigVision": "its factored second moments do not belong to entries",
    "timm.optim.kron.Kron": "its preconditioners do not belong to entries",
    "transformers.optimization.Adafactor": "its factored second moments do not belong to entries",
}
"""Those for which ``reset_state='zero'`` is refused as well, and why."""

TESTED: Final[dict[str, tuple[str, str, str]]] = {
    "timm": ("timm", "1.0.15", "1.0.31"),
    "lion_pytorch": ("lion-pytorch", "0.2.5", "0.2.5"),
    "transformers": ("transformers", "4.44.2", "4.44.2"),
}
"""By package: its distribution, and the first and the last version that the judge of the tests has seen."""


def qualified(kind: type[Optimizer]) -> str:
    """The name by which a class is known here."""
    return f"{kind.__module__}.{kind.__qualname__}"
