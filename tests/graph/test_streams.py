"""Which filters are read together, and what acts on them as one."""

import torch
from torch import nn

from graph.nets import channel_layer_norm, dense_concat, resnet, resnet_option_a, squeeze_and_excite
from regrow.graph import Streams, as_one, is_shared, streams_of, trace

X = torch.zeros(2, 3, 8, 8)


def test_a_residual_stream_is_one_group_a_channel() -> None:
    wiring = trace(resnet(), X)
    groups = streams_of(wiring)
    assert [("0", 0), ("2.conv2", 0)] in [list(group) for group in groups]
    assert [("3.conv2", 5), ("3.down.0", 5)] in [list(group) for group in groups]
    assert len(groups) == 4 + 6
    assert [path for path in wiring if is_shared(wiring[path])] == [
        *("0", "2.conv2", "3.conv2", "3.down.0")
    ]


def test_a_padded_skip_joins_channels_of_different_numbers() -> None:
    groups = streams_of(trace(resnet_option_a(), X))
    assert [list(group) for group in groups] == [
        [("0", channel), ("1.conv2", channel + 2)] for channel in range(4)
    ]


def test_concatenation_joins_nothing_and_a_gate_joins_its_channel() -> None:
    assert streams_of(trace(dense_concat(), X)) == ()
    groups = streams_of(trace(squeeze_and_excite(), X))
    assert [list(group) for group in groups] == [
        [("conv", channel), ("up", channel)] for channel in range(4)
    ]


def test_behind_a_mixing_operation_all_are_one_group() -> None:
    wiring = trace(channel_layer_norm(), torch.zeros(2, 3, 8, 8))
    (mixed,) = (group for group in streams_of(wiring) if ("depthwise", 0) in group)
    assert {("depthwise", channel) for channel in range(4)} <= set(mixed)


def test_norms_behind_a_sum_belong_to_the_stream() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.head = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return self.head(self.norm(x + self.b(x)).relu())

    wiring = trace(PreActivation(), X)
    (norm,) = wiring["b"].shared_norms
    assert (norm.path, norm.channels) == ("norm", ((0,), (1,), (2,), (3,)))
    assert wiring["b"].norms == ()
    whole = as_one(wiring["b"])
    assert [one.path for one in whole.norms] == ["norm"]
    assert all(flag for reader in whole.readers for flags in reader.alone for flag in flags)


def test_gather_takes_the_best_and_the_first_stands_for_all() -> None:
    streams = Streams([[("a", 0), ("b", 1)], [("a", 2), ("b", 0)]], {"a": 3, "b": 2})
    scores = {"a": torch.tensor([1.0, 5.0, 3.0]), "b": torch.tensor([4.0, 2.0])}
    eligible = {"a": torch.tensor([True] * 3), "b": torch.tensor([False, True])}
    kept = {key: value.clone() for key, value in scores.items()}
    found, may = streams.gather(scores, eligible)
    assert found["a"].tolist() == [2.0, 5.0, 4.0]
    assert found["b"].tolist() == [4.0, 2.0]
    assert may["a"].tolist() == [True, True, False]  # filter 0 of b may not, so its group may not
    assert may["b"].tolist() == [False, False]
    assert all(torch.equal(scores[key], kept[key]) for key in kept)
    masks = {"a": torch.tensor([True, False, False]), "b": torch.tensor([True, False])}
    whole = streams.spread(masks)
    assert whole["a"].tolist() == [True, False, False]
    assert whole["b"].tolist() == [False, True]


def test_no_number_in_a_group_and_layers_without_scores() -> None:
    streams = Streams([[("a", 0), ("b", 0)]], {"a": 2, "b": 1})
    yes = {"a": torch.tensor([True, True]), "b": torch.tensor([True])}
    found, _ = streams.gather(
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([float("nan")])}, yes
    )
    assert found["a"][0].isnan()
    assert found["a"][1] == 2.0
    found, may = streams.gather({"a": torch.tensor([1.0, 2.0])}, {"a": yes["a"]})
    assert found["a"].tolist() == [1.0, 2.0]
    assert may["a"].tolist() == [False, True]


def test_barred_filters_are_never_selected() -> None:
    streams = Streams([], {"a": 2}, barred=[("a", 1)])
    _, may = streams.gather({"a": torch.zeros(2)}, {"a": torch.tensor([True, True])})
    assert may["a"].tolist() == [True, False]
    assert streams.spread({"a": torch.tensor([True, True])})["a"].tolist() == [True, False]
