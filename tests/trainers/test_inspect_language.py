"""`regrow.inspect` on GPT-2 as transformers makes it, its input and output embeddings tied: what was hurt is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import regrow
from health.hurts import HURTS, check, hurt

transformers: Any = pytest.importorskip("transformers")

MLP = "transformer.h.0.mlp.c_fc"
READER = "transformer.h.0.mlp.c_proj"
TOKENS = torch.randint(40, (16, 12), generator=torch.Generator().manual_seed(0))
BATCH = {"input_ids": TOKENS, "labels": TOKENS}


def _gpt2() -> Any:
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=16, vocab_size=40, use_cache=False
    )
    config.bos_token_id = config.eos_token_id = None
    torch.manual_seed(6)
    net = transformers.GPT2LMHeadModel(config)
    assert net.lm_head.weight is net.transformer.wte.weight
    return net


def test_nothing_is_found_in_a_healthy_one() -> None:
    health = regrow.inspect(_gpt2(), BATCH)
    assert health.symptoms == ()
    assert health.loss is not None


# Its GELU is put together of other functions, and where that is flat is not known.
KNOWN = [each for each in HURTS if each not in {"blown up", "faded", "where GELU is flat"}]


@pytest.mark.parametrize("how", KNOWN)
def test_what_was_hurt_is_found_and_nothing_else(how: str) -> None:
    net = _gpt2()
    hurt(net, MLP, HURTS[how])
    check(regrow.inspect(net, BATCH), MLP, HURTS[how], READER)


@pytest.mark.parametrize(("how", "besides"), [("blown up", set()), ("faded", {"invalid"})])
def test_a_layer_out_of_size_in_front_of_a_sum_is_found_by_its_weight(
    how: str, besides: set[str]
) -> None:
    net = _gpt2()
    hurt(net, MLP, HURTS[how])
    health = regrow.inspect(net, {"input_ids": TOKENS})  # gradients of later layers do suffer
    assert health[MLP].settled
    found = {(each.measure, each.layer) for each in health.symptoms}
    # 32 weights of 0.02, a hundredth of that left, are invalid by their sum too.
    assert found == {(measure, MLP) for measure in {"weight_ratio", *besides}}
