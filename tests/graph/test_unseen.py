"""What one run on an example does not show: outputs that are empty or hidden, and what training alone uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from graph.nets import Forward, crater
from regrow.errors import TraceError
from regrow.graph import Wiring, trace
from regrow.graph.calling import tensors_in

X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())


def names(wiring: Wiring) -> list[str]:
    return [layer.path for layer in wiring.renewable(("conv", "linear"))]


class Boxes:
    """As detectors give them: of a class of their own, and who holds them may be held by them."""

    def __init__(self, tensor: Tensor, **more: object) -> None:
        self.tensor = tensor
        self.__dict__.update(more)
        self.me = self


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held


class TestObjects:
    def test_the_attributes_of_any_object_are_looked_into(self) -> None:
        a, b, c, d = (torch.ones(n) for n in range(1, 5))
        value = [
            Boxes(a, scores={"of": (b,)}),
            Slotted(SimpleNamespace(x=[c])),
            iter([d]),
            "word",
            1.5,
        ]
        assert [len(each) for each in tensors_in(value)] == [1, 2, 3]

    def test_modules_and_functions_are_not(self) -> None:
        made = Boxes(torch.ones(1), net=nn.Linear(2, 2), do=torch.relu, kind=nn.Linear)
        assert [len(each) for each in tensors_in(made)] == [1]

    def test_a_tensor_that_is_there_twice_is_there_twice(self) -> None:
        one = [torch.ones(1)]
        assert len(list(tensors_in([one, one]))) == 2

    @pytest.mark.parametrize("wrap", [Boxes, Slotted, lambda x: SimpleNamespace(logits=[x])])
    def test_a_head_in_an_object_is_a_head(self, wrap: Callable[[Tensor], object]) -> None:
        net = Forward(
            lambda net, x: wrap(net.head(net.body(x))), body=body(), head=nn.Conv2d(5, 2, 1)
        )
        wiring = trace(net, X)
        assert wiring["head"].is_head
        assert not wiring.remarks

    def test_an_object_that_holds_its_tensors_out_of_sight_leaves_its_head_unread(self) -> None:
        def run(net: nn.Module, x: Tensor) -> object:
            x = net.body(x)
            kept = net.hidden(x)
            return net.head(x).mean((2, 3)), (lambda: kept)

        net = Forward(run, body=body(), hidden=nn.Conv2d(5, 2, 1), head=nn.Conv2d(5, 2, 1))
        wiring = trace(net, X)
        assert wiring["hidden"].unread
        assert "hidden" not in names(wiring)


class TestUnread:
    def net(self) -> nn.Module:
        def run(net: nn.Module, x: Tensor) -> Tensor:
            x = net.body(x)
            net.kept = net.side(F.relu(net.before(x)))  # no output of the model
            return net.head(x.mean((2, 3)))

        return Forward(
            run,
            body=body(),
            before=nn.Conv2d(5, 6, 1),
            side=nn.Conv2d(6, 2, 1),
            head=nn.Linear(5, 3),
        )

    def test_a_head_on_an_attribute_is_renewed_only_where_it_is_named(self) -> None:
        wiring = trace(self.net(), X)
        assert wiring["side"].unread
        assert not wiring["before"].unread
        assert [layer.path for layer in wiring.renewable()] == ["body.0", "body.2", "before"]
        for pattern in ("side", "s*", "[s]ide"):
            assert "side" in [each.path for each in wiring.renewable(include=["*", pattern])]
        assert "side" not in [
            each.path for each in wiring.renewable(include=["side"], exclude=["s*"])
        ]

    def test_it_is_said_with_the_way_out(self) -> None:
        wiring = trace(self.net(), X)
        first, second = wiring.remarks
        assert first.startswith("no layer reads side on this example")
        for way in ("unless include=[...] names", "Example inputs", "dataclasses", "exclude=[...]"):
            assert way in first
        assert second.startswith("no way to the output was seen from before:")
        assert "not followed: no layer reads it" in str(wiring)


class Detector(nn.Module):
    """Boxes where the score is above a bar, and a second stage on them alone."""

    def __init__(self, bar: float) -> None:
        super().__init__()
        self.bar = bar
        self.body = body()
        self.score, self.box = nn.Conv2d(5, 1, 1), nn.Conv2d(5, 4, 1)
        self.inner, self.last = nn.Linear(9, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x)
        scores = self.score(x).sigmoid().movedim(1, -1).flatten(0, 2)[:, 0]
        found = torch.where(scores > self.bar)[0]
        boxes = self.box(x).movedim(1, -1).flatten(0, 2)[found]
        seen = torch.cat([x.movedim(1, -1).flatten(0, 2)[found], boxes], 1)
        return {"boxes": boxes * 2, "classes": self.last(F.relu(self.inner(seen)))}


class TestNothingThere:
    def test_with_boxes_it_is_all_seen(self) -> None:
        wiring = trace(Detector(0.0), X)
        assert wiring["box"].is_head
        assert wiring["last"].is_head
        assert "inner" in {each.path for each in wiring["body.2"].readers}

    def test_without_a_box_no_head_is_taken_for_anything_else(self) -> None:
        wiring = trace(Detector(1.0), X)
        assert wiring["box"].is_head
        assert wiring["last"].is_head
        assert wiring["inner"].unread
        assert wiring["score"].is_head or wiring["score"].unread or wiring["score"].refused
        assert not {"box", "last", "inner"} & set(names(wiring))

    def test_who_reads_nothing_leaves_its_writers_unknown(self) -> None:
        """Its columns would be missed: what it reads on the next example is not seen on this one."""
        wiring = trace(Detector(1.0), X)
        assert "on this example it works on nothing" in wiring["body.2"].refused
        assert any("works on nothing" in remark for remark in wiring.remarks)
        assert not wiring["body.0"].refused

    def test_a_sum_over_nothing_is_still_of_its_head(self) -> None:
        net = Forward(
            lambda net, x: net.box(net.body(x))[:0].sum(), body=body(), box=nn.Conv2d(5, 4, 1)
        )
        assert trace(net, X)["box"].is_head

    def test_what_is_empty_beside_something_is_passed_over(self) -> None:
        def run(net: nn.Module, x: Tensor) -> Tensor:
            x = net.body(x)
            return net.head(torch.cat([x, x[:, :0]], 1))

        net = Forward(run, body=body(), head=nn.Conv2d(5, 2, 1))
        wiring = trace(net, X)
        assert not wiring.remarks
        assert wiring["body.2"].readers[0].alone == ((True,),) * 5

    @pytest.mark.parametrize("given", [X[:0], (X[:0],), {"x": X[:0]}])
    def test_an_empty_batch_is_an_error(self, given: object) -> None:
        net = Forward(lambda net, x: net.body(x), body=body())
        with pytest.raises(
            TraceError, match=r"must hold an example, and have no element: \(0, 1, 8, 8\)"
        ):
            trace(net, given)


class Noisy(nn.Module):
    """A layer that explores in training: noise of a learnt size on its weights."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(width, inputs) / inputs)
        self.sigma = nn.Parameter(torch.full((width, inputs), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mu + self.sigma * torch.randn_like(self.mu) if self.training else self.mu
        return F.linear(x, weight)


class Split(nn.BatchNorm2d):
    """Statistics, scales and shifts of its own for the second half of a batch, in training alone."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.second = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        first, rest = x.chunk(2)
        return torch.cat([super().forward(first), self.second(rest)])


class WithTargets(nn.Module):
    """As detectors are: in training mode the loss comes out, and targets must go in."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.side = inner, nn.Linear(3, 3)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        out = self.inner(x)
        if not self.training:
            return out
        if targets is None:
            raise ValueError("targets must be given")
        return F.cross_entropy(out + self.side(out), targets)


class TestBothModes:
    def test_a_branch_of_training_alone_is_followed(self) -> None:
        def run(net: nn.Module, x: Tensor) -> object:
            x = net.body(x)
            out = net.head(x.mean((2, 3)))
            return (out, net.aux(F.relu(net.before(x)))) if net.training else out

        net = Forward(
            run,
            body=body(),
            head=nn.Linear(5, 3),
            before=nn.Conv2d(5, 4, 1),
            aux=nn.Conv2d(4, 3, 1),
        )
        wiring = trace(net, X)
        assert not wiring.remarks
        assert [each.path for each in wiring["body.2"].readers] == ["head", "before"]
        assert wiring["aux"].is_head
        assert names(wiring) == ["body.0", "body.2", "before"]
        assert wiring.flows["before"].outlets

    def test_a_norm_of_training_alone_belongs_to_the_filters(self) -> None:
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), Split(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
        )
        wiring = trace(net, X)
        assert [norm.path for norm in wiring["0"].norms] == ["1", "1.second"]
        assert all(norm.channels == ((0,), (1,), (2,), (3,)) for norm in wiring["0"].norms)
        assert not wiring.remarks

    def test_where_its_training_mode_refuses_the_example_such_a_norm_is_named(self) -> None:
        """One example: there is no second half."""
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), Split(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
        )
        wiring = trace(net, X[:1])
        assert "0" not in wiring
        assert "0" in wiring.untraced
        (remark,) = (each for each in wiring.remarks if each.startswith("0 is not the same"))
        assert "what 1.second." in remark

    def test_a_weight_that_training_computes_is_left_alone_by_name(self) -> None:
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), Noisy(5, 4), nn.Linear(4, 3))
        wiring = trace(net, X)
        assert list(wiring) == ["1", "4"]
        assert wiring["1"].readers == ()
        assert "its weight is computed by add in '3'" in wiring["1"].refused
        assert "3.mu" in wiring.untraced
        assert any(
            each.startswith("3.mu is not the same layer in training") for each in wiring.remarks
        )

    def test_a_layer_of_evaluation_alone_is_left_alone_by_name(self) -> None:
        def run(net: nn.Module, x: Tensor) -> Tensor:
            x = net.body(x)
            return net.head((x if net.training else net.only(x)).mean((2, 3)))

        net = Forward(run, body=body(), only=nn.Conv2d(5, 5, 1), head=nn.Linear(5, 3))
        wiring = trace(net, X)
        assert "only" not in wiring
        assert [each.path for each in wiring["body.2"].readers] == ["head"]
        assert "'only', which is left alone, reads it" in wiring["body.2"].refused

    def test_a_skip_of_training_alone_is_seen(self) -> None:
        def run(net: nn.Module, x: Tensor) -> Tensor:
            x = net.a(x)
            y = net.b(x)
            return net.head(y + x if net.training else y)

        net = Forward(
            run, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3, padding=1), head=nn.Conv2d(4, 2, 1)
        )
        wiring = trace(net, X)
        assert [each.path for each in wiring["a"].readers] == ["b", "head"]
        assert wiring["a"].readers[1].alone == ((False,),) * 4

    def test_a_model_that_needs_targets_says_so_and_takes_them(self) -> None:
        net = WithTargets(crater_of_one())
        wiring = trace(net, X)
        assert any("in training mode the model does not run" in each for each in wiring.remarks)
        assert any("targets must be given" in each for each in wiring.remarks)
        whole = trace(net, (X, torch.zeros(4, dtype=torch.int64)))
        assert not whole.remarks
        assert whole["side"].is_head

    def test_a_parameter_beside_the_weight_that_nobody_was_seen_to_use_is_named(self) -> None:
        net = WithTargets(nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), Noisy(5, 3)))
        wiring = trace(net, X)
        assert "inner.3.mu" not in wiring
        assert any(each.startswith("inner.3.mu is not the same layer") for each in wiring.remarks)

    def test_a_layer_that_chance_has_left_out_is_not_left_alone(self) -> None:
        class Skips(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(12))

            def forward(self, x: Tensor) -> Tensor:
                for layer in self.layers:
                    if not self.training or torch.rand(()) < 0.5:
                        x = x + layer(x)
                return x

        net, x = nn.Sequential(nn.Conv2d(1, 3, 3), Skips(), nn.Conv2d(3, 2, 1)), X
        for seed in range(4):
            torch.manual_seed(seed)
            state = torch.get_rng_state()
            wiring = trace(net, x)
            assert torch.equal(torch.get_rng_state(), state)
            assert len(wiring) == 14
            assert not wiring.untraced

    @pytest.mark.parametrize(
        "drops",
        [
            nn.Dropout(0.5),
            nn.Dropout2d(0.5),
            nn.AlphaDropout(0.5),
            nn.FeatureAlphaDropout(0.5),
            nn.RReLU(),
        ],
        ids=lambda each: type(each).__name__,
    )
    def test_dropout_changes_nothing(self, drops: nn.Module) -> None:
        def net(between: nn.Module) -> nn.Module:
            return nn.Sequential(body(), between, nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 1))

        assert trace(net(drops), X) == trace(net(nn.ReLU()), X)


def crater_of_one() -> nn.Module:
    return nn.Sequential(body(), nn.Flatten(), nn.Linear(80, 3))


class TestForms:
    def test_a_list_of_tensors_is_given_in_a_tuple(self) -> None:
        net = Forward(
            lambda net, images: [net.head(net.body(each)) for each in images],
            body=body(),
            head=nn.Conv2d(5, 2, 1),
        )
        images = [torch.randn(1, 8, 8), torch.randn(1, 9, 7)]
        wiring = trace(net, (images,))
        assert not wiring.remarks
        assert wiring["head"].is_head
        with pytest.raises(
            TraceError,
            match=r"a list is taken for the forward's arguments one by one.*\(\[\.\.\.\],\)",
        ):
            trace(net, images)

    def test_a_model_of_another_precision(self) -> None:
        wiring = trace(crater().bfloat16(), torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16))
        assert wiring == trace(crater(), torch.zeros(1, 3, 8, 8))

    @pytest.mark.parametrize("how", ["script", "trace", "freeze"])
    def test_a_scripted_part_is_left_alone_by_name(self, how: str) -> None:
        part = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 4, 1)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is no longer recommended
            made = {
                "script": lambda: torch.jit.script(part),
                "trace": lambda: torch.jit.trace(part, torch.zeros(1, 4, 6, 6)),
                "freeze": lambda: torch.jit.freeze(torch.jit.script(part)),
            }[how]()
        net = nn.Sequential(nn.Conv2d(1, 4, 3), made, nn.Conv2d(4, 5, 3), nn.Conv2d(5, 2, 1))
        flags = [getattr(each, "training", None) for each in net.modules()]
        wiring = trace(net, X)
        assert [getattr(each, "training", None) for each in net.modules()] == flags
        assert list(wiring) == ["0", "2", "3"]
        assert wiring["0"].refused == "TorchScript in '1': what it does inside is not seen"
        assert "1" in wiring.untraced
        assert any("exclude=['1']" in remark for remark in wiring.remarks)
        assert [each.path for each in wiring["2"].readers] == ["3"]

    def test_a_weight_that_works_in_a_scripted_part_too_is_said(self) -> None:
        conv = nn.Conv2d(4, 4, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.jit.script(nn.Sequential(conv))
        net = nn.Sequential(nn.Conv2d(1, 4, 3), made, conv, nn.Conv2d(4, 2, 1))
        wiring = trace(net, X)
        (layer,) = (each for each in wiring.layers if each.readers and each.readers[0].path == "3")
        assert "uses its weight too" in layer.refused

    def test_a_scripted_model_is_one_line(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.jit.script(crater())
        for model in (made, nn.DataParallel(made)):
            with pytest.raises(TraceError, match="whose forward is Python, got TorchScript"):
                trace(model, torch.zeros(1, 3, 8, 8))
