"""The API keys of upstreams: named in the database, kept outside it."""

import os
from functools import lru_cache
from pathlib import Path


class SecretMissing(Exception):
    """An upstream's API key is not where the operator said it would be; the text names the place, never the key."""


def read(*, env: str, file: str) -> str | None:
    """An upstream's API key from the environment or a file; a file is re-read when it changes. Raises SecretMissing."""
    if env:
        value = os.environ.get(env, "")
        if not value:
            raise SecretMissing(f"the environment variable {env} is not set")
        return value
    if file:
        try:
            changed_at = Path(file).stat().st_mtime_ns
            value = _file_secret(file, changed_at)
        except OSError as error:
            raise SecretMissing(f"the file {file} cannot be read: {error.strerror}") from None
        except ValueError:
            raise SecretMissing(f"the file {file} is not text") from None
        if not value:
            raise SecretMissing(f"the file {file} is empty")
        return value
    return None


@lru_cache(maxsize=256)
def _file_secret(file: str, changed_at: int) -> str:
    return Path(file).read_text(encoding="utf-8").strip()
