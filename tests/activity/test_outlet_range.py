"""What is read at one outlet, also where some filters leave elsewhere."""

import pytest
import torch

from regrow.activity.outlet_range import OutletRange
from regrow.graph.flows import Outlet, Site

DEAD = 2
SITE = Site(module="", call=-1, calls=1, function="f", number=0, times=1, argument=0)


@pytest.mark.parametrize("filters", [5, 300], ids=["few", "many"])
@pytest.mark.parametrize("batch", [3, 64])
@pytest.mark.parametrize("dead", [(), (DEAD,)], ids=["living", "one dead"])
def test_padded_channels_and_absent_filters_hide_nobody(
    filters: int, batch: int, dead: tuple[int, ...]
) -> None:
    """Channels of zeros that no filter made, as a padded shortcut has them; the last filter leaves elsewhere."""
    here = filters - 1
    units = (-1, *range(here), -1)
    x = torch.randn(batch, len(units), 4, 4, generator=torch.Generator().manual_seed(0))
    x[:, 0] = x[:, -1] = 0.0
    for unit in dead:
        x[:, 1 + unit] = 0.25
    outlet = Outlet(site=SITE, axes=(1,), sizes=(len(units),), ndim=4, units=units)
    found = OutletRange(outlet, filters, torch.device("cpu"))
    for _ in range(3):  # what the pass before has shown decides where it is looked first
        found.read(x, sums=False)
        result = found.silent()
        assert result is not None
        silent, constant = result
        assert silent.nonzero().flatten().tolist() == [*dead, here]
        assert constant[list(dead)].tolist() == [0.25] * len(dead)
        assert found.lively is not bool(dead)
        found.reset()
