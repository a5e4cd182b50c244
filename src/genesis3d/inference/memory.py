"""Whether memory did not suffice, and giving back what is not needed."""

from __future__ import annotations

__all__ = ["out_of_memory", "release"]

# How torch's allocators, cuDNN and the operating system say it where they have no exception of their own for it.
_SENTENCES = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory did not suffice, on the processor or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sentence in str(error).lower() for sentence in _SENTENCES)


def release() -> None:
    """Give cached blocks of a GPU back, so that smaller ones of another size fit."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
