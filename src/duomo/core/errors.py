"""What can go wrong, as a tree; the number is the exit code of the command line.

    DuomoError 1
    ├── ConfigError    2   a setting, a flag or a recipe is wrong
    ├── DataError      3   the data cannot be used as they are
    ├── RunError       4   a run folder is damaged, busy or of another make
    └── ResourceError  5   memory, disk or the device ran out

An interrupted command (Ctrl-C, SIGTERM) exits with 130 after saving what it had.
"""

from duomo.core.messages import tr


class DuomoError(Exception):
    """A mistake that its maker can fix: the message states the rule, the value received and the remedy.

    `template` is the English sentence with `{name}` places; it is also the key of its Chinese translation.
    """

    exit_code = 1

    def __init__(self, template: str, **values: object):
        self.template, self.values = template, values
        super().__init__(tr(template, **values))


class ConfigError(DuomoError):
    """A setting, a flag or a recipe is wrong."""

    exit_code = 2


class DataError(DuomoError):
    """The data cannot be used as they are."""

    exit_code = 3


class RunError(DuomoError):
    """A run folder is damaged, busy or of another make."""

    exit_code = 4


class ResourceError(DuomoError):
    """Memory, disk or the device ran out."""

    exit_code = 5


class Interrupted(DuomoError):
    """The work was stopped from outside and can be resumed."""

    exit_code = 130


MEMORY_WORDS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "failed to allocate", "std::bad_alloc",
    "could not create a memory object", "insufficient memory", "alloc_failed",
)  # fmt: skip


MEMORY_FAULTS = (MemoryError, RuntimeError)
"""What allocators raise, and others too."""


def lacks_memory(error: BaseException) -> bool:
    """Whether this is an allocator's failure, of the machine's memory or a GPU's: torch has no error of its own for all of them."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY_WORDS)
