"""Gates: whose zero is no absence."""

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import ConfigError
from regrow.graph import gates


class Gated(nn.Module):
    """Several ways to multiply."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.x, self.y = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(2, 8, 1)
        self.squeeze, self.gate = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.head = nn.Conv2d(4 if way == "halves" else 8, 2, 1)
        self.way = way

    def forward(self, image: Tensor) -> Tensor:
        x = self.x(image).relu()
        if self.way == "beside each other":
            return self.head(x * self.y(image).sigmoid())
        if self.way == "halves":
            first, second = x.chunk(2, 1)
            return self.head(first * second.sigmoid())
        if self.way == "the input":
            return self.head(image.repeat(1, 4, 1, 1) * x.sigmoid())
        gate = self.gate(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(x * gate + (self.y(image) if self.way == "then a sum" else 0.0))


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("squeeze", {"gate": (("x",), True, True)}),
        ("then a sum", {"gate": (("x",), True, False)}),
        ("beside each other", {"x": (("y",), False, False), "y": (("x",), False, False)}),
        ("halves", {"x": (("x",), False, False)}),
    ],
)
def test_gates(way: str, found: dict[str, object]) -> None:
    wiring = regrow.trace(Gated(way).eval(), torch.zeros(1, 2, 5, 5))
    assert {
        path: (gate.over, gate.sure, gate.only) for path, gate in gates(wiring).items()
    } == found


def test_what_the_input_is_multiplied_with_is_a_gate() -> None:
    wiring = regrow.trace(Gated("the input").eval(), torch.zeros(1, 2, 5, 5))
    assert set(gates(wiring)) == {"x"}


def test_a_recipe_that_drops_leaves_gates_out_and_says_so() -> None:
    model = Gated("squeeze")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = regrow.RePr(s1=1, s2=1, cycles=1, unit="steps")
    told = {"example_inputs": torch.zeros(1, 2, 5, 5)}
    regrower = regrow.attach(recipe, model, optimizer, **told)  # type: ignore[arg-type]
    assert regrower.report.layers == {"x": 8, "squeeze": 3}
    assert regrower.report.notes[0] == (
        "gate: never dropped, for it switches x: at 0 its filters would scale that and not be gone"
    )
    regrower.detach()
    stream = regrow.attach(recipe, model, optimizer, coupled="stream", **told)  # type: ignore[arg-type]
    assert stream.report.layers.keys() == {"x", "squeeze", "gate"}  # x and gate go together
    stream.detach()
    both = Gated("beside each other")
    with pytest.raises(ConfigError, match="no filter that the recipe may drop: x: never dropped"):
        regrow.attach(recipe, both, torch.optim.SGD(both.parameters(), lr=0.1), **told)  # type: ignore[arg-type]
