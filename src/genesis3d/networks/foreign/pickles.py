"""What a pickle would call, read from its opcodes without running it.

``torch.load(weights_only=True)`` refuses programs by itself; this look ahead says in one sentence what the file names,
and keeps the few allowed calls that could allocate at will from being reached.
"""

from __future__ import annotations

import pickletools
import re
from typing import IO

from genesis3d.errors import ModelError

__all__ = ["check_pickle", "check_pickles"]

_MAGIC = 0x1950A86A20F9469CFC6C  # first value of torch files before version 1.6
_PARTS = 5  # pickles at the head of such a file
_ALLOWED = re.compile(
    r"collections (OrderedDict|defaultdict)"
    r"|torch (\w+Storage|Size|device|float\w*|int\w*|uint8|bool|bfloat16)"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch\.(storage (Untyped|Typed)Storage|nn\.parameter Parameter)"
    # a number of numpy beside the weights, such as the best loss; torch_file says which types
    r"|numpy(\.(_core|core)\.multiarray scalar| dtype)|_codecs encode"
)


def check_pickle(stream: IO[bytes] | bytes, where: str) -> list[object]:
    """Read one pickle's opcodes from ``stream``, up to its end; return its plain numbers.

    Raises
    ------
    ModelError
        When it is damaged, or names anything but the parts of plain tensors.
    """
    numbers: list[object] = []
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                if not _ALLOWED.fullmatch(str(argument)):
                    name = str(argument).replace(" ", ".")[:80]
                    raise ModelError(
                        f"{where}: expected plain weights, got a pickle that names {name!r}; nothing of it was run"
                    )
            elif opcode.name in ("STACK_GLOBAL", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
                raise ModelError(
                    f"{where}: expected plain weights, got a pickle that builds objects; nothing of it was run"
                )
            elif isinstance(argument, int):
                numbers.append(argument)
    except ModelError:
        raise
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise ModelError(f"{where}: expected weights, got a truncated or damaged file") from error
    return numbers


def check_pickles(stream: IO[bytes], where: str) -> None:
    """Check the pickles at the head of a torch file from before version 1.6; raises ModelError."""
    first = check_pickle(stream, where)
    if _MAGIC not in first:
        raise ModelError(f"{where}: expected a file that torch saved, got another pickle")
    for _ in range(_PARTS - 1):
        check_pickle(stream, where)
