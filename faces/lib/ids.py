"""Ids as people and programs write them."""

from uuid import UUID


def uuid_of(text: str) -> UUID | None:
    """The UUID written in `text` in its usual form of 36 characters, or None."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
