"""Paths that the kernel is to resolve, made absolute without changing what they name."""

import os


def absolute(path: str | os.PathLike[str]) -> str:
    """An absolute path for what need not exist. ".." stays for the kernel: os.path.abspath takes it away, wrongly after a symlink."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path is a str or an os.PathLike of str, not {type(text).__name__}")
    if text.startswith("/"):
        return text
    return os.path.join(os.getcwd(), text) if text else os.getcwd()
