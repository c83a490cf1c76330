"""Causal attention for training on a CPU, by blocks of queries, with its gradient written out.

Each position reads only what is before it: half of the T × T array of scores is computed in vain when it is computed as a whole. Here
each block of queries meets the keys up to its end; one array is kept for the way back, the shares, and masks are set in place. On two
cores forward and backward together take 0.6 of the time at 256 positions and half (bf16) or 0.4 (float32) at 1,024. Left to autograd,
blocks gain little: the gradients of the keys, sums over slices, cost what was saved. A fused kernel keeps no such array at all (Dao et
al. 2022, arXiv:2205.14135); torch's own for CPUs is slower at these lengths.

Legend: B rows, H heads, N rows times heads, T positions, K head width, Q queries of a block, S keys that they read.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from duomo.nn.dropout import STEPS, mask

BLOCK = 128
"""Queries at once: with 64 the products are too small, with 256 more is computed in vain."""


class _Causal(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, dropped: int) -> Tensor:
        shape = q.shape
        q_NTK, k_NTK, v_NTK = (x.reshape(-1, *shape[2:]) for x in (q * shape[-1] ** -0.5, k, v))
        y_NTK, kept = torch.empty_like(q_NTK), []
        for start, end in _blocks(shape[2]):
            score_NQS = torch.bmm(q_NTK[:, start:end], k_NTK[:, :end].mT)
            # so far below every score that their sum is the bound itself
            lowest_QS = torch.full(score_NQS.shape[1:], torch.finfo(score_NQS.dtype).min, dtype=score_NQS.dtype)
            score_NQS.add_(lowest_QS.triu(1 + start))
            if allowed is not None:
                score_NQS.view(*shape[:2], *lowest_QS.shape).masked_fill_(~allowed[..., start:end, :end], lowest_QS[0, 0].item())
            share_NQS = torch.softmax(score_NQS, -1)
            kept.append(share_NQS)
            if dropped:
                kept.append(mask(share_NQS.numel(), dropped).view(share_NQS.shape))
                share_NQS = share_NQS * kept[-1]
            y_NTK[:, start:end] = torch.bmm(share_NQS, v_NTK[:, :end])
        ctx.save_for_backward(q_NTK, k_NTK, v_NTK, *kept)
        ctx.dropped = dropped
        return _scaled(y_NTK, dropped).view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTK: Tensor) -> tuple[Tensor | None, ...]:
        q_NTK, k_NTK, v_NTK, *kept = ctx.saved_tensors
        shape = gradient_BHTK.shape
        gradient_NTK = _scaled(gradient_BHTK.reshape(q_NTK.shape).to(q_NTK.dtype), ctx.dropped)
        of_q, of_k, of_v = torch.empty_like(q_NTK), torch.empty_like(k_NTK), torch.empty_like(v_NTK)
        for start, end in reversed(_blocks(shape[2])):
            keep_NQS = kept.pop() if ctx.dropped else None
            share_NQS, some_NQK = kept.pop(), gradient_NTK[:, start:end]
            of_share_NQS = torch.bmm(some_NQK, v_NTK[:, :end].mT)
            used_NQS = share_NQS
            if keep_NQS is not None:
                used_NQS = share_NQS * keep_NQS
                of_share_NQS *= keep_NQS
            of_score_NQS = torch._softmax_backward_data(of_share_NQS, share_NQS, -1, share_NQS.dtype)
            of_q[:, start:end] = torch.bmm(of_score_NQS, k_NTK[:, :end])
            more_k, more_v = torch.bmm(of_score_NQS.mT, q_NTK[:, start:end]), torch.bmm(used_NQS.mT, some_NQK)
            if end == shape[2]:  # the last block, here the first, reads all keys
                of_k, of_v = more_k, more_v
            else:
                of_k[:, :end] += more_k
                of_v[:, :end] += more_v
        return of_q.mul_(shape[-1] ** -0.5).view(shape), of_k.view(shape), of_v.view(shape), None, None


def _blocks(positions: int) -> list[tuple[int, int]]:
    """First query of each block, and the one behind its last."""
    return [(start, min(start + BLOCK, positions)) for start in range(0, positions, BLOCK)]


def _scaled(x: Tensor, dropped: int) -> Tensor:
    return x * (STEPS / (STEPS - dropped)) if dropped else x


def causal_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, dropped: int) -> Tensor:
    """q, k, v (B, H, T, K) of one type, allowed (..., T, T) bool or None, shares set to zero of 65,536 -> (B, H, T, K).

    `allowed` lets each position read itself.
    """
    found: Tensor = _Causal.apply(q, k, v, allowed, dropped)  # type: ignore[no-untyped-call]
    return found
