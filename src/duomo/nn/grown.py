"""What is fitted when a network has learned: its size is known only then."""

from typing import Any

from torch import Tensor, nn


class Grown(nn.Module):
    """A module whose buffers are empty until they are fitted: it takes them from a state in whatever size they have there, and leaves empty
    what an older state does without."""

    def put(self, **tensors: Tensor) -> None:
        for name, value in tensors.items():
            setattr(self, name, value.to(getattr(self, name)).contiguous())

    def clear(self) -> None:
        """Empty again."""
        self.put(**{name: value[:0] for name, value in self.named_buffers(recurse=False)})

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, own in self.named_buffers(recurse=False):
            given = state_dict.get(prefix + name)
            if given is None and not own.numel():
                state_dict[prefix + name] = own
            elif given is not None and given.shape != own.shape:
                setattr(self, name, own.new_empty(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[no-untyped-call]
