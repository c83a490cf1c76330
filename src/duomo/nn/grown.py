"""What is fitted when a network has learned: its size is known only then."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Grown(nn.Module):
    """A module whose buffers are empty until they are fitted: it takes them from a file in whatever size they have."""

    def put(self, **tensors: Tensor) -> None:
        for name, value in tensors.items():
            setattr(self, name, value.to(getattr(self, name)).contiguous())

    def clear(self) -> None:
        """Empty again."""
        self.put(**{name: value[:0] for name, value in self.named_buffers(recurse=False)})

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, own in self.named_buffers(recurse=False):
            given = state_dict.get(prefix + name)
            if given is not None and given.shape != own.shape:
                setattr(self, name, own.new_empty(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[no-untyped-call]
