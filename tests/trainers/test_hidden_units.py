"""Hidden units of dense layers in networks that people have: who is watched by default, and what a renewal changes.

All are made from their configuration, tiny, without a download.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from regrow.history import Renewed


@dataclass(frozen=True)
class Kind:
    """A network, its inputs, and the layers whose units are hidden.

    Attributes:
        make: Builds it; skips where its package is missing.
        inputs: Its arguments.
        hidden: Patterns of the paths of all layers that are watched by default.
        others: Layers that `include` alone takes: writers of a residual stream, attention.
        logits: What of the output is trained.
        unit: A layer and those that are decided with it.
        readers: Who reads its units.
        columns: Its weights are (inputs, units).
    """

    make: Callable[[], nn.Module]
    inputs: Any
    hidden: tuple[str, ...]
    others: tuple[str, ...]
    logits: Callable[[Any], Tensor]
    unit: tuple[str, ...]
    readers: tuple[str, ...]
    columns: bool = False


def _vit() -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.models.VisionTransformer(
        img_size=16, patch_size=8, in_chans=1, embed_dim=12, depth=2, num_heads=2, num_classes=3
    )


def _mixer() -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.models.MlpMixer(
        img_size=16, patch_size=8, in_chans=1, embed_dim=12, num_blocks=2, num_classes=3
    )


def _gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=11,
        n_positions=8,
        n_embd=12,
        n_layer=2,
        n_head=2,
        tie_word_embeddings=False,
        use_cache=False,
    )
    return transformers.GPT2LMHeadModel(config)


def _bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=11,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=8,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def _llama() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=11,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8,
        use_cache=False,  # what it returns is its answer, keys and values too
    )
    return transformers.LlamaForCausalLM(config)


class Impala(nn.Module):
    """The encoder of IMPALA's deep network, one section of two residual blocks, and its dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])
            for _ in range(2)
        )
        self.dense = nn.Linear(6 * 8 * 8, 16)
        self.policy, self.value = nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.stem(x), 3, 2, 1)
        for first, second in self.blocks:  # type: ignore[misc]
            x = x + second(F.relu(first(F.relu(x))))
        x = F.relu(self.dense(F.relu(x).flatten(1)))
        return self.policy(x), self.value(x)


def _nature() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 8, 4), nn.ReLU(), nn.Conv2d(8, 8, 4, 2), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 16), nn.ReLU()),
        nn.Linear(16, 3),
    )


TOKENS = {"input_ids": torch.tensor([[1, 5, 3, 2], [4, 0, 7, 9], [8, 8, 2, 6]])}
IMAGES = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
KINDS = {
    "timm's ViT": Kind(
        make=_vit,
        inputs=IMAGES,
        hidden=("blocks.0.mlp.fc1", "blocks.1.mlp.fc1"),
        others=("blocks.0.attn.qkv", "blocks.0.mlp.fc2", "patch_embed.proj"),
        logits=lambda out: out,
        unit=("blocks.0.mlp.fc1",),
        readers=("blocks.0.mlp.fc2",),
    ),
    "timm's MLP-Mixer": Kind(
        make=_mixer,
        inputs=IMAGES,
        hidden=tuple(
            f"blocks.{n}.mlp_{what}.fc1" for n in range(2) for what in ("tokens", "channels")
        ),
        others=("blocks.0.mlp_tokens.fc2", "blocks.0.mlp_channels.fc2", "stem.proj"),
        logits=lambda out: out,
        unit=("blocks.0.mlp_tokens.fc1",),
        readers=("blocks.0.mlp_tokens.fc2",),
    ),
    "GPT-2": Kind(
        make=_gpt2,
        inputs=TOKENS,
        hidden=("transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"),
        others=("transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_proj"),
        logits=lambda out: out.logits[:, -1, :3],
        unit=("transformer.h.0.mlp.c_fc",),
        readers=("transformer.h.0.mlp.c_proj",),
        columns=True,
    ),
    "BERT": Kind(
        make=_bert,
        inputs=TOKENS,
        hidden=(
            "bert.encoder.layer.0.intermediate.dense",
            "bert.encoder.layer.1.intermediate.dense",
            "bert.pooler.dense",
        ),
        others=(
            "bert.encoder.layer.0.attention.self.query",
            "bert.encoder.layer.0.output.dense",
        ),
        logits=lambda out: out.logits,
        unit=("bert.encoder.layer.0.intermediate.dense",),
        readers=("bert.encoder.layer.0.output.dense",),
    ),
    "Llama": Kind(
        make=_llama,
        inputs=TOKENS,
        hidden=tuple(
            f"model.layers.{n}.mlp.{what}_proj" for n in range(2) for what in ("gate", "up")
        ),
        others=("model.layers.0.self_attn.v_proj", "model.layers.0.mlp.down_proj"),
        logits=lambda out: out.logits[:, -1, :3],
        unit=("model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"),
        readers=("model.layers.0.mlp.down_proj",),
    ),
    "NatureCNN": Kind(
        make=_nature,
        inputs=torch.randn(3, 1, 36, 36, generator=torch.Generator().manual_seed(0)),
        hidden=("0", "2", "4", "7"),
        others=(),
        logits=lambda out: out,
        unit=("7",),
        readers=("9",),
    ),
    "IMPALA's encoder": Kind(
        make=Impala,
        inputs=IMAGES,
        hidden=("blocks.0.0", "blocks.1.0", "dense"),
        others=("stem", "blocks.0.1", "blocks.1.1"),
        logits=lambda out: out[0] + out[1],
        unit=("dense",),
        readers=("policy", "value"),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One of them."""
    return KINDS[request.param]


def _net(kind: Kind) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind.make()


def _run(kind: Kind, net: nn.Module) -> Tensor:
    given = kind.inputs
    return kind.logits(net(**given) if isinstance(given, dict) else net(given))


def _step(kind: Kind, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    net.train()
    optimizer.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        F.cross_entropy(_run(kind, net), torch.tensor([0, 1, 2])).backward()
    optimizer.step()


def test_hidden_units_are_watched_and_streams_and_attention_by_name_alone(kind: Kind) -> None:
    net = _net(kind)
    optimizer = torch.optim.AdamW(net.parameters())
    regrower = regrow.attach(
        regrow.ReDo(), net, optimizer, example_inputs=kind.inputs, init="normal:0.02"
    )
    assert set(regrower.report.layers) == set(kind.hidden)
    regrower.detach()
    for path in kind.others:
        named = regrow.attach(
            regrow.ReDo(),
            net,
            optimizer,
            example_inputs=kind.inputs,
            include=[path],
            init="normal:0.02",
        )
        assert set(named.report.layers) == {path}
        named.detach()


def _entries(kind: Kind, name: str, tensor: Tensor, unit: int) -> Tensor:
    """Where a unit's entries are: its own weights and bias, and what reads it."""
    mask = torch.zeros_like(tensor, dtype=torch.bool)
    own = any(name.startswith(f"{path}.") for path in kind.unit)
    if own or name in {f"{path}.weight" for path in kind.readers}:
        axis = 0 if tensor.ndim == 1 or own != kind.columns else 1
        mask.index_fill_(axis, torch.tensor([unit]), True)
    return mask


def test_a_renewal_changes_the_unit_and_nothing_else(kind: Kind) -> None:
    """Its own weights, what reads it, and the optimizer's state of both; then the network does not hear it."""
    net, unit = _net(kind), 2
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    events = tuple(
        Renewed(step=1, layer=path, filters=(unit,), scores=(0.0,)) for path in kind.unit
    )
    regrow.attach(
        # By name, so that it is the unit that we say.
        regrow.RandomControl(like=events, readers="zero"),
        net,
        optimizer,
        example_inputs=kind.inputs,
        layers=("linear",),
        include=kind.unit,
        coupled="stream" if len(kind.unit) > 1 else "writer",
        init="normal:0.5",
    )
    twin = copy.deepcopy(net)
    other = torch.optim.AdamW(twin.parameters(), lr=1e-3)
    for _ in range(2):
        _step(kind, net, optimizer)
        _step(kind, twin, other)
    plain = dict(twin.named_parameters())
    touched: list[int] = []
    for name, each in net.named_parameters():
        changed = each != plain[name]
        if not bool(changed.any()):
            continue
        units = _units_of(kind, name, changed)
        touched += units
    [renewed] = set(touched)
    for name, each in net.named_parameters():
        mask = _entries(kind, name, each, renewed)
        assert torch.equal(each[~mask], plain[name][~mask]), name
        for key in ("exp_avg", "exp_avg_sq"):
            kept, theirs = optimizer.state[each], other.state[plain[name]]
            if key in kept:
                assert torch.equal(kept[key][~mask], theirs[key][~mask]), (name, key)
                assert not kept[key][mask].any(), (name, key)
    _is_not_heard(kind, net, renewed)


def _units_of(kind: Kind, name: str, changed: Tensor) -> list[int]:
    reads = any(name == f"{path}.weight" for path in kind.readers)
    if changed.ndim == 1:
        return changed.nonzero()[:, 0].tolist()
    along = reads != kind.columns
    return sorted(set(changed.nonzero()[:, int(along)].tolist()))


def _is_not_heard(kind: Kind, net: nn.Module, unit: int) -> None:
    """Whatever its own weights are, no bit of the output changes."""
    net.eval()
    with torch.no_grad():
        before = _run(kind, net)
        for name, each in net.named_parameters():
            if any(name.startswith(f"{path}.") for path in kind.unit):
                mask = _entries(kind, name, each, unit)
                each[mask] = 0.7
        assert torch.equal(_run(kind, net), before)


@pytest.mark.parametrize(
    "recipe", [regrow.ReDo(every_steps=1), regrow.ReDo(every_steps=1, as_published=True)], ids=str
)
def test_a_unit_that_gives_next_to_nothing_is_found(kind: Kind, recipe: Any) -> None:
    """Behind GELU and SiLU it is never 0: its size beside the mean of its layer counts."""
    net, unit = _net(kind), 3
    with torch.no_grad():
        for name, each in net.named_parameters():
            if name.startswith(f"{kind.unit[0]}."):
                mask = _entries(kind, name, each, unit)
                each[mask] = -4.0 if each.ndim == 1 else 0.0
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    regrower = regrow.attach(recipe, net, optimizer, example_inputs=kind.inputs, init="normal:0.02")
    _step(kind, net, optimizer)
    found = {event.layer: event.filters for event in regrower.report.events}
    for path in kind.unit:
        assert unit in found[path]
